"""Pictures over time: traces, acceptance, and R-hat as the start is dropped."""

import math
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from numpyro_score.diagnostics.acceptance import tuned_acceptance
from numpyro_score.diagnostics.burn_in_findings import end
from numpyro_score.diagnostics.verdict import RHAT_MAX
from numpyro_score.report.canvas import INK, SHADE, blank, short, styled, to_svg
from numpyro_score.report.figures import chain_lines, rows
from numpyro_score.report.pictures import MAX_CHAINS, Plan, Shown

MAX_TRACE_POINTS = 600
"""Points of a trace, a chain: about as many as the figure has pixels across."""

NUM_WINDOWS = 60
"""Windows over which the acceptance is averaged."""

RHAT_TICKS = (1.0, 1.01, 1.05, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
"""Ticks of the scale of R-hat, up to the largest that is needed."""


def _traces(shown: Shown, burn_in: float) -> str:
    draws, warmup = shown.draws.values, shown.warmup
    num_warmup = 0 if warmup is None else warmup.sizes["draw"]
    both = draws if warmup is None else np.concatenate([warmup.values, draws], axis=2)
    step = math.ceil(both.shape[2] / MAX_TRACE_POINTS)
    number = np.arange(0, both.shape[2], step) - num_warmup

    def fill(ax: Axes, place: int) -> None:
        chain_lines(ax, number, both[place, :, ::step], alpha=0.8, linewidth=0.6)
        low, high = draws[place].min(), draws[place].max()
        # the first steps of a warmup may be so far away that the rest would be a line
        data_low, data_high = ax.get_ylim()
        room = 0.6 * (high - low)
        ax.set_ylim(max(data_low, low - room), min(data_high, high + room))
        if num_warmup:
            ax.axvspan(-num_warmup, 0, **SHADE)
            ax.set_xlim(-num_warmup, draws.shape[2])
        # NaN is not above 0
        if burn_in > 0:
            ax.axvline(burn_in - num_warmup, color=INK, linewidth=1.3, linestyle=(0, (4, 2)))

    return rows(shown.labels, "draw; before 0: warmup" if num_warmup else "draw", fill)


def _acceptance(rates: xr.DataArray, num_warmup: int, target: float) -> str:
    num_steps = rates.sizes["draw"]
    edges = np.unique(np.linspace(0, num_steps, min(NUM_WINDOWS, num_steps) + 1).astype(int))
    sums = np.add.reduceat(rates.values, edges[:-1], axis=1)
    means = sums / np.diff(edges)
    middle = (edges[1:] + edges[:-1]) / 2 - num_warmup
    with styled():
        figure = blank(2.2)
        ax = figure.subplots()
        chain_lines(ax, middle, means[:MAX_CHAINS], alpha=0.7, linewidth=0.7)
        ax.plot(middle, means.mean(axis=0), color=INK, linewidth=1.6)
        if num_warmup:
            ax.axvspan(-num_warmup, 0, **SHADE)
        if not math.isnan(target):
            ax.axhline(target, color=INK, linewidth=0.9, linestyle=":")
        ax.set(xlim=(-num_warmup, num_steps - num_warmup), ylim=(0, 1.03))
        ax.set_xlabel("draw; before 0: warmup" if num_warmup else "draw")
        return to_svg(figure)


def _rhat_by_burn_in(burn_in: xr.Dataset, places: list[int], labels: list[str]) -> str:
    with styled():
        figure = blank(2.9)
        ax = figure.subplots()
        for place, label in zip(places, labels, strict=True):
            ax.plot(burn_in.dropped, burn_in.rhat.values[place], label=short(label, 24))
        ax.axhline(RHAT_MAX, color=INK, linewidth=0.9, linestyle=":")
        ax.axvspan(0, burn_in.attrs["num_warmup"], **SHADE)
        ended = end(burn_in)
        # NaN is not above 0
        if ended > 0:
            ax.axvline(ended, color=INK, linewidth=1.3, linestyle=(0, (4, 2)))
        ax.set_xlim(0, max(float(burn_in.dropped.max()), 1.0))
        ax.set_yscale("function", functions=(_stretch, _unstretch))
        top = float(np.nanmax(burn_in.rhat.values[places], initial=RHAT_MAX))
        ticks = [tick for tick in RHAT_TICKS if tick <= top] or [1.0]
        ax.set_ylim(0.999, max(1.03, 1.02 * top))
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.set(xlabel="draws dropped, from the first that is kept", ylabel="R-hat of the rest")
        figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8.5)
        return to_svg(figure)


def _stretch(value: np.ndarray) -> np.ndarray:
    """R-hat on a scale on which 1.01 and 10 can both be read."""
    return np.log(np.maximum(value - 0.99, 1e-3))


def _unstretch(value: np.ndarray) -> np.ndarray:
    return np.exp(value) + 0.99


def trace_plan(shown: Shown, burn_in: xr.Dataset | None) -> Plan:
    """Traces with warmup and the end of burn-in.

    Parameters
    ----------
    shown
        As `choose` returns it.
    burn_in
        As `burn_in` returns it, or None.
    """
    ended = math.nan if burn_in is None else end(burn_in)
    warm = " Shaded: warmup, which is not used." if shown.warmup is not None else ""
    line = " Dashed: where burn-in ends." if ended > 0 else ""
    return Plan(
        "Traces",
        "Draws in their order, one colour per chain. Chains that mixed look alike and without "
        f"trend; slow waves or separate levels are a problem.{warm}{line}{shown.selection}",
        ", ".join(shown.labels),
        partial(_traces, shown, ended),
    )


def rhat_plan(shown: Shown, burn_in: xr.Dataset) -> Plan | None:
    """R-hat as more of the start is dropped; None if there is none.

    Parameters
    ----------
    shown
        As `choose` returns it.
    burn_in
        As `burn_in` returns it.
    """
    if not np.isfinite(burn_in.rhat.values[shown.places]).any():
        return None
    marks = "Shaded: warmup." + " Dashed: where burn-in ends." * (end(burn_in) > 0)
    return Plan(
        "R-hat as the start is dropped",
        f"Dotted: its limit {RHAT_MAX}, which short chains exceed by chance. A line that falls "
        f"below it and stays there: the chains differ in their initial transient only. {marks}",
        ", ".join(shown.labels),
        partial(_rhat_by_burn_in, burn_in, shown.places, shown.labels),
    )


def acceptance_plan(dt: xr.DataTree) -> Plan | None:
    """Acceptance over time; None where it is not recorded.

    Parameters
    ----------
    dt
        Draws, of any origin.
    """

    def rates(group: str) -> xr.DataArray | None:
        stats = dt[group].data_vars if group in dt.children else {}
        found = tuned_acceptance(stats)
        if found is None or set(found.dims) != {"chain", "draw"}:
            return None
        return found.transpose("chain", "draw").drop_vars(("chain", "draw"), errors="ignore")

    late, early = rates("sample_stats"), rates("warmup_sample_stats")
    if late is None or not np.isfinite(late.values).all():
        return None
    fits = early is not None and early.sizes["chain"] == late.sizes["chain"]
    parts = [early, late] if early is not None and fits and early.sizes["draw"] else [late]
    both = xr.concat(parts, "draw")
    num_warmup = both.sizes["draw"] - late.sizes["draw"]
    target = float(dt.attrs.get("target_accept_prob", math.nan))
    aim = "" if math.isnan(target) else " Dotted: the target of warmup."
    warm = " Shaded: warmup." if num_warmup else ""
    return Plan(
        "Acceptance over time",
        f"One colour per chain, black their mean, in windows of steps. A chain far below the "
        f"others is stuck; a mean that still moves after warmup needs a longer one.{aim}{warm}",
        f"mean {float(late.mean()):.0%}",
        partial(_acceptance, both, num_warmup, target),
    )
