"""The picture of error against cost: which kernel is the most accurate for what it costs."""

from functools import partial

import numpy as np
import pandas as pd

from numpyro_score.report.canvas import (
    CHAIN_COLOURS,
    INK,
    blank,
    logarithmic,
    short,
    styled,
    to_svg,
)
from numpyro_score.report.pictures import Plan


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
        logarithmic(ax.xaxis)
        logarithmic(ax.yaxis)
        ax.set_ylabel("error, in sds of the target")
        ax.set_xlabel("evaluations of the log density" if cost == "evaluations" else "seconds")
        figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=8.5)
        return to_svg(figure)


MARKERS = "osD^vP*X"
"""Kernels are distinguished without colour too."""


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
        "Root mean square error of the known values as draws are added, warmup included in the "
        "cost; a marker where a run ended. The dotted line joins runs that no other beats in both "
        "cost and error. The error of an exact kernel falls as one over the root of its cost, that "
        "of a biased one levels off.",
        said,
        partial(_pareto, known, kernels, cost),
    )
