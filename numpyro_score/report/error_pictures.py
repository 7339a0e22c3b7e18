"""Pictures of errors: known values against estimates, distances against their floors."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from numpyro_score.diagnostics.errors import chance_limit
from numpyro_score.report.canvas import CHAIN_COLOURS, INK, SHADE, blank, short, styled, to_svg
from numpyro_score.report.formatting import count, number
from numpyro_score.report.pictures import Plan

MAX_KNOWN = 24
"""Known values in a picture, the worst first."""

GOOD, BAD = CHAIN_COLOURS[0], CHAIN_COLOURS[3]


def _errors(known: pd.DataFrame, limit: float) -> str:
    rows = known.to_dict("records")
    place = np.arange(len(rows))
    signed = np.array([np.sign(row["estimate"] - row["truth"]) * row["error_mcse"] for row in rows])
    edge = 1.25 * max(limit, min(float(np.abs(signed).max(initial=0.0)), 6 * limit))
    inside = np.clip(signed, -0.97 * edge, 0.97 * edge)
    colours = [BAD if abs(value) > limit else GOOD for value in signed]
    with styled():
        figure = blank(0.8 + 0.22 * max(len(rows), 4))
        ax = figure.subplots()
        ax.axvspan(-limit, limit, **SHADE)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.hlines(place, 0, inside, color=colours, linewidth=1.4)
        ax.scatter(inside, place, c=colours, s=22, zorder=3)
        ax.set_yticks(place, [short(str(row["quantity"]), 34) for row in rows])
        ax.set(xlim=(-edge, edge), ylim=(len(rows) - 0.4, -0.6))
        ax.set_xlabel("error in Monte Carlo standard errors")
        ax.tick_params(axis="y", length=0)
        return to_svg(figure)


def errors_plan(errors: pd.DataFrame) -> Plan | None:
    """How far estimates are from known values; None where none is known.

    Parameters
    ----------
    errors
        Rows of one run, as `expectation_errors` returns them.
    """
    known = errors[np.isfinite(errors["error_mcse"].astype(float))]
    if known.empty:
        return None
    limit = chance_limit(len(known))
    worst = known.sort_values("error_mcse", ascending=False, kind="stable").head(MAX_KNOWN)
    more = len(known) - len(worst)
    left_out = f" The {MAX_KNOWN} furthest off; {more} left out." if more else ""
    return Plan(
        "Errors of known values",
        "Estimate less truth, in standard errors of both. Shaded: what chance explains of so many "
        f"values.{left_out}",
        f"worst {worst['quantity'].iloc[0]}, {worst['error_mcse'].iloc[0]:.1f} standard errors",
        partial(_errors, worst, limit),
    )


def _pareto(curves: pd.DataFrame, kernels: list[str], cost: str) -> str:
    ends = []
    with styled():
        figure = blank(3.4)
        ax = figure.subplots()
        for place, kernel in enumerate(kernels):
            colour, marker = (
                CHAIN_COLOURS[place % len(CHAIN_COLOURS)],
                MARKERS[place % len(MARKERS)],
            )
            label = short(kernel, 20)
            for _, one in curves[curves["kernel"] == kernel].groupby("seed", sort=True):
                ax.plot(one[cost], one["error_sd"], color=colour, linewidth=0.9, alpha=0.6)
                end = one.iloc[-1]
                at = [end[cost]], [end["error_sd"]]
                ax.plot(*at, marker, color=colour, markersize=7, zorder=3, label=label)
                ends.append((float(end[cost]), float(end["error_sd"])))
                label = "_"
        front = _front(ends)
        ax.step(*zip(*front, strict=True), where="post", color=INK, linewidth=0.9, linestyle=":")
        _logarithmic(ax.xaxis)
        _logarithmic(ax.yaxis)
        ax.set_ylabel("error, in sds of the target")
        ax.set_xlabel("evaluations of the log density" if cost == "evaluations" else "seconds")
        figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=8.5)
        return to_svg(figure)


def _logarithmic(axis: Any) -> None:
    """A scale with ticks at 1, 2 and 5 at most, in plain digits."""
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axis.set_minor_locator(NullLocator())


def _tick(value: float) -> str:
    return count(value) if value >= 1000 else number(value)


MARKERS = "osD^vP*X"
"""Kernels are told apart without colour too."""


def _front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points to which no other is both cheaper and better, the cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, error in sorted(points):
        if not front or error < front[-1][1]:
            front.append((cost, error))
    return front


def pareto_plan(curves: pd.DataFrame) -> Plan | None:
    """Error against cost of the kernels on one target; None where no truth is known.

    Parameters
    ----------
    curves
        Rows of `Comparison.curves` for the target.
    """
    cost = "evaluations"
    if not (np.isfinite(curves[cost].astype(float)) & (curves[cost].astype(float) > 0)).all():
        cost = "seconds"
    values = curves[[cost, "error_sd"]].astype(float)
    known = curves[(np.isfinite(values) & (values > 0)).all(axis=1)]
    kernels = list(dict.fromkeys(known["kernel"]))
    if not kernels:
        return None
    last = known.groupby(["kernel", "seed"], sort=False)["error_sd"].last()
    said = ", ".join(f"{kernel} {last[kernel].median():.2g} sd" for kernel in kernels)
    return Plan(
        "Error against cost",
        "Root mean square error of the known values as draws are added, warmup paid for; a mark "
        "where a run ended. Dotted: to what lies on it no other run is both cheaper and better. An "
        "exact kernel falls as one over the root of its cost, a biased one levels off.",
        said,
        partial(_pareto, known, kernels, cost),
    )


def _distances(measures: xr.Dataset) -> str:
    names = [str(name) for name in measures.measure.values]
    value, floor = measures.value.values, measures.floor.values
    spread = np.nan_to_num(measures.floor_sd.values, nan=0.0)
    place = np.arange(len(names))
    flags = measures.is_flagged.values.astype(bool)
    with styled():
        figure = blank(0.8 + 0.34 * max(len(names), 3))
        ax = figure.subplots()
        ratio = value / floor
        for i in place:
            ax.plot(
                np.maximum([1 - 2 * spread[i] / floor[i], 1 + 2 * spread[i] / floor[i]], 0.02),
                [i, i],
                color=INK,
                alpha=0.35,
                linewidth=6,
                solid_capstyle="butt",
            )
        ax.axvline(1, color=INK, linewidth=0.8)
        ax.scatter(ratio, place, c=[BAD if flag else GOOD for flag in flags], s=34, zorder=3)
        ax.set_yticks(place, names)
        low, high = min(float(ratio.min()), 0.8), max(float(ratio.max()), 1.25)
        ax.set(ylim=(len(names) - 0.4, -0.6), xlim=(low / 1.2, high * 1.2))
        if high / low > 8:
            _logarithmic(ax.xaxis)
        ax.set_xlabel("distance, as a multiple of its floor")
        ax.tick_params(axis="y", length=0)
        return to_svg(figure)


def distances_plan(discrepancy: xr.Dataset) -> Plan | None:
    """Distances against their floors; None where there is no distance with a floor.

    Parameters
    ----------
    discrepancy
        As `discrepancy` returns it.
    """
    is_known = (discrepancy.floor > 0) & np.isfinite(discrepancy.value)
    measures = discrepancy.isel(measure=np.flatnonzero(is_known.values))
    if not measures.sizes["measure"]:
        return None
    return Plan(
        "Distances against their floors",
        "The floor is what exact draws of the same number have; the bar beside it is two of their "
        "standard deviations. Red: more than chance.",
        ", ".join(
            f"{name} {float(v):.3g} (floor {float(f):.3g})"
            for name, v, f in zip(
                measures.measure.values,
                measures.value.values,
                measures.floor.values,
                strict=True,
            )
        ),
        partial(_distances, measures),
    )
