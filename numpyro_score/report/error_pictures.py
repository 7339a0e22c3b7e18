"""Pictures of errors: known values against estimates, distances against their floors."""

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from numpyro_score.diagnostics.errors import chance_limit
from numpyro_score.report.canvas import (
    CHAIN_COLOURS,
    INK,
    SHADE,
    blank,
    logarithmic,
    short,
    styled,
    to_svg,
)
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
            logarithmic(ax.xaxis)
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
