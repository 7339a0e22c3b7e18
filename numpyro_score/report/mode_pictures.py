"""Pictures of modes: pairs of parameters coloured by mode, jumps between modes, shares by chain."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.formatting import number
from numpyro_score.report.canvas import CHAIN_COLOURS, INK, blank, short, styled, to_svg
from numpyro_score.report.pictures import MAX_CHAINS, Plan, Shown

MAX_PAIRED = 4
"""Parameters of the pair plot."""

MAX_POINTS = 2000
"""Points of each of its panels."""

MAX_MODES = 10
"""Modes that are pictured, as many as there are colours."""


def _paired(modes: xr.Dataset, shown: Shown) -> list[int]:
    """Parameters that separate the modes best; with one mode the least reliable."""
    if modes.attrs["num_modes"] == 1:
        return shown.places[:MAX_PAIRED]
    mean, sd = modes["mean"].values, modes["sd"].values
    weight = modes.occupancy.values[:, None]
    grand = (weight * mean).sum(axis=0)
    with np.errstate(all="ignore"):
        apart = (weight * (mean - grand) ** 2).sum(axis=0) / (weight * sd**2).sum(axis=0)
    order = np.argsort(-np.nan_to_num(apart, nan=-1.0, posinf=1e9), kind="stable")
    return [int(place) for place in order[:MAX_PAIRED] if apart[place] > 0]


def _pairs(draws: xr.DataArray, mode_of: Int[np.ndarray, "chain draw"], num_modes: int) -> str:
    labels = [short(str(label), 22) for label in draws.label.values]
    flat, mode = draws.values.reshape(len(labels), -1), mode_of.ravel()
    step = max(-(-flat.shape[1] // MAX_POINTS), 1)
    flat, mode = flat[:, ::step], np.minimum(mode[::step], MAX_MODES - 1)
    colours = np.array(CHAIN_COLOURS)
    size = len(labels)
    with styled():
        figure = blank(min(1.0 + 1.35 * size, 6.0))
        grid = figure.subplots(size, size, squeeze=False)
        for row, column in np.ndindex(size, size):
            ax: Any = grid[row, column]
            if column > row:
                ax.set_axis_off()
                continue
            low, high = flat[column].min(), flat[column].max()
            if row == column:
                edges = np.linspace(low, high, 40).tolist()
                parts = [flat[row][mode == m] for m in range(min(num_modes, MAX_MODES))]
                ax.hist(parts, edges, stacked=True, color=colours[: len(parts)].tolist())
                ax.set_yticks([])
                ax.spines["left"].set_visible(False)
            else:
                dots = ax.scatter(flat[column], flat[row], s=3, c=colours[mode].tolist())
                dots.set(linewidths=0, alpha=0.5, rasterized=True)
            ax.locator_params(nbins=3)
            if row < size - 1:
                ax.tick_params(labelbottom=False)
            else:
                ax.set_xlabel(labels[column])
            if column == 0 and row > 0:
                ax.set_ylabel(labels[row])
            elif column > 0:
                ax.tick_params(labelleft=False)
        _legend(figure, num_modes)
        return to_svg(figure)


def _legend(figure: Figure, num_modes: int) -> None:
    if num_modes == 1:
        return
    marks = [Rectangle((0, 0), 1, 1, color=colour) for colour in CHAIN_COLOURS[:num_modes]]
    names = [f"mode {i}" for i in range(len(marks))]
    if num_modes > MAX_MODES:
        names[-1] += " and beyond"
    figure.legend(marks, names, loc="outside upper right", ncols=5, frameon=False, fontsize=8.5)


def _jumps(jumps: Int[np.ndarray, "mode mode"]) -> str:
    size = len(jumps)
    total = jumps.sum(axis=1, keepdims=True)
    share = jumps / np.maximum(total, 1)
    with styled():
        figure = blank(min(1.1 + 0.6 * size, 5.0))
        ax = figure.subplots()
        for row, column in np.ndindex(size, size):
            value = share[row, column]
            # rare jumps are what one looks for: a colour that grows with the root
            cell = Rectangle((column - 0.5, row - 0.5), 1, 1, linewidth=0, color=CHAIN_COLOURS[0])
            cell.set_alpha(float(np.sqrt(value)) * 0.85)
            ax.add_patch(cell)
            text = f"{jumps[row, column]:,}"
            if size <= 6:
                text += f"\n{_share(value)}"
            if jumps[row, column]:
                ax.text(column, row, text, ha="center", va="center", fontsize=8.5)
        ax.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
        ax.set_xticks(range(size), [f"to {i}" for i in range(size)])
        ax.set_yticks(range(size), [f"from {i}" for i in range(size)])
        ax.tick_params(length=0)
        return to_svg(figure)


def _share(value: float) -> str:
    return "" if value == 0 else f"{value:.1%}" if value >= 0.001 else "< 0.1%"


def _occupancy(modes: xr.Dataset, chains: list[int]) -> str:
    shares = modes.chain_occupancy.values[chains][:, :MAX_MODES]
    with styled():
        figure = blank(0.9 + 0.24 * max(len(chains), 4))
        ax = figure.subplots()
        left = np.zeros(len(chains))
        place = np.arange(len(chains))
        for mode, share in enumerate(shares.T):
            ax.barh(place, share, left=left, height=0.8, color=CHAIN_COLOURS[mode], linewidth=0)
            left += share
        edges = np.cumsum(modes.occupancy.values[: shares.shape[1]])[:-1]
        for edge in edges:
            ax.axvline(edge, color=INK, linewidth=0.9, linestyle=":")
        ax.set(xlim=(0, 1), ylim=(len(chains) - 0.4, -0.6), xlabel="share of the chain's draws")
        ax.set_yticks(place, [f"chain {modes.chain.values[i]}" for i in chains])
        ax.tick_params(axis="y", length=0)
        _legend(figure, modes.attrs["num_modes"])
        return to_svg(figure)


def mode_plans(dt: xr.DataTree | FlatDraws, shown: Shown, modes: xr.Dataset) -> list[Plan]:
    """The pair plot, and, where there is more than one mode, jumps and shares by chain.

    Parameters
    ----------
    dt
        Draws, of any origin.
    shown
        As `choose` returns it.
    modes
        As `modes` returns it.
    """
    num_modes = modes.attrs["num_modes"]
    plans = []
    places = _paired(modes, shown)
    flat = flatten(dt)
    if places and len(flat.labels) > 1:
        draws = flat.select(places)
        best = "that separate the modes best" if num_modes > 1 else "least reliable"
        plans.append(
            Plan(
                "Pairs of parameters" + (" by mode" if num_modes > 1 else ""),
                f"The {len(places)} {best}; one dot per draw"
                f"{', one colour per mode' * (num_modes > 1)}. "
                "Curved, funnel-shaped and separate clouds are hard to sample.",
                ", ".join(str(label) for label in draws.label.values),
                partial(_pairs, draws, modes.mode_of.values, num_modes),
            )
        )
    if num_modes == 1:
        return plans
    size = min(num_modes, MAX_MODES)
    jumps = modes.jumps.values[:size, :size]
    share = modes.chain_occupancy.values[:, 0]
    furthest = np.argsort(-np.abs(share - share.mean()), kind="stable")[:MAX_CHAINS]
    return [
        *plans,
        Plan(
            "Jumps between modes",
            "Steps from one mode to another, and as a share of all steps from there. Mixing needs "
            "many off the diagonal.",
            f"{number(modes.jumps_per_1000.item(), 2)} jumps per 1,000 draws",
            partial(_jumps, jumps),
        ),
        Plan(
            "Shares of the modes by chain",
            "If the chains mixed, a mode has about the same share in each; dotted: all chains.",
            ", ".join(
                f"mode {i} {part:.0%}" for i, part in enumerate(modes.occupancy.values[:size])
            ),
            partial(_occupancy, modes, sorted(furthest.tolist())),
        ),
    ]
