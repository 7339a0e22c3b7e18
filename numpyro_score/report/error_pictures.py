"""Pictures of errors: known values against estimates, distances against their floors."""

from functools import partial

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.section import ErrorChart
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

GOOD, BAD = CHAIN_COLOURS[0], CHAIN_COLOURS[3]


def _errors(chart: ErrorChart) -> str:
    limit, signed = chart.limit, np.asarray(chart.values)
    place = np.arange(len(signed))
    edge = 1.25 * max(limit, min(float(np.abs(signed).max(initial=0.0)), 6 * limit))
    inside = np.clip(signed, -0.97 * edge, 0.97 * edge)
    colours = [BAD if abs(value) > limit else GOOD for value in signed]
    with styled():
        figure = blank(0.8 + 0.22 * max(len(signed), 4))
        ax = figure.subplots()
        ax.axvspan(-limit, limit, **SHADE)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.hlines(place, 0, inside, color=colours, linewidth=1.4)
        ax.scatter(inside, place, c=colours, s=22, zorder=3)
        ax.set_yticks(place, [short(label, 34) for label in chart.labels])
        ax.set(xlim=(-edge, edge), ylim=(len(signed) - 0.4, -0.6))
        ax.set_xlabel("error in Monte Carlo standard errors")
        ax.tick_params(axis="y", length=0)
        return to_svg(figure)


def chart_plan(chart: ErrorChart) -> Plan:
    """Errors in standard errors, the largest first.

    Parameters
    ----------
    chart
        At least one error.
    """
    return Plan(
        chart.title,
        chart.caption,
        f"worst {chart.labels[0]}, {abs(chart.values[0]):.1f} standard errors",
        partial(_errors, chart),
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
        "The floor is the distance of exact draws of the same number; the bar beside it is two of "
        "their standard deviations. Red: larger than chance explains.",
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
