"""Pictures of mixing: ranks, autocorrelation, growth of the effective sample size.

Rank plots: Säilynoja, Bürkner and Vehtari, Graphical test for discrete uniformity (Statistics and
Computing 32, 2022). What is shown is thinned to about independent draws first, as the test assumes.
"""

import math
from functools import partial

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Float
from matplotlib.axes import Axes

from numpyro_score.diagnostics.formatting import count
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, effective_draws
from numpyro_score.report.canvas import CHAIN_COLOURS, INK, SHADE
from numpyro_score.report.figures import chain_lines, rows
from numpyro_score.report.pictures import Plan, Shown

RANKED_DRAWS = (50, 200)
"""Fewest and most draws a chain whose ranks are shown: the rank test's time grows with them."""

MAX_LAG = 60
"""Lags of the autocorrelation."""

ESS_POINTS = 12
"""Lengths at which the effective sample sizes are computed again."""

RANK_LEVEL = 0.01
"""Level of the test of equal ranks, below which points are marked."""

FAR_FROM_ENOUGH = 0.3
"""Share of the recommended effective draws below which the recommended number is only named."""


def _untied(
    draws: Float[np.ndarray, "parameter chain draw"],
) -> Float[np.ndarray, "parameter chain draw"]:
    """Ranks in place of values, ties broken at random: the test is of ranks without ties."""
    noise = np.random.default_rng(0).random(draws.shape[1:]).ravel()
    ranks = [np.argsort(np.lexsort((noise, values.ravel()))) for values in draws]
    return np.reshape(ranks, draws.shape).astype(float)


def _ranks(shown: Shown) -> str:
    draws = shown.draws
    size, total = draws.sizes["draw"], draws.sizes["draw"] * draws.sizes["chain"]
    fewest, most = RANKED_DRAWS
    step = math.ceil(total / max(shown.ess, 1.0))
    step = max(min(step, size // fewest), math.ceil(size / most), 1)
    ranks = array_stats.compute_ranks(
        _untied(draws.values[:, :, ::step]), axis=(-2, -1), relative=True
    )
    p_values, by_chain, by_point = array_stats.mchain_uniformity_test(ranks)
    is_marked = (by_chain > 0) & (by_point > 0)[..., None] & (p_values < RANK_LEVEL)[:, None, None]
    num_points = ranks.shape[-1]
    x, above = array_stats.ecdf(ranks, npoints=num_points, pit=True)
    # as far as chance takes the line of one chain (Dvoretzky, Kiefer and Wolfowitz), and more
    chance = 1.3 * math.sqrt(math.log(2 / RANK_LEVEL) / (2 * num_points))
    limit = 1.15 * max(chance, np.abs(above).max())

    def fill(ax: Axes, place: int) -> None:
        at, lines, marked = x[place, 0], above[place], is_marked[place].T
        chain_lines(ax, np.repeat(at, 2)[:-1], np.repeat(lines, 2, axis=1)[:, 1:])
        ax.scatter(
            np.broadcast_to(at, lines.shape)[marked], lines[marked], color=INK, marker=".", s=36
        )
        value = f"{p_values[place]:.2f}"
        said = "p < 0.01" if value == "0.00" else f"p = {value}"
        # beside the title, where no line runs
        ax.text(1, 1.02, said, transform=ax.transAxes, ha="right", va="bottom")
        ax.set_ylim(-limit, limit)
        ax.spines["left"].set_visible(False)
        ax.set_yticks([])

    return rows(shown.labels, "rank among all chains' draws, as a fraction", fill)


def _autocorrelation(shown: Shown) -> str:
    size = shown.draws.sizes["draw"]
    rho = array_stats.autocorr(shown.draws.values)[..., : min(MAX_LAG, size - 1)]
    lags = np.arange(rho.shape[-1])
    band = 1.96 / math.sqrt(size)

    def fill(ax: Axes, place: int) -> None:
        ax.plot(lags[[0, -1]], [0, 0], color=INK, linestyle="--")
        chain_lines(ax, lags, rho[place])
        ax.axhspan(-band, band, **SHADE)
        ax.set_ylim(-0.3, 1.05)

    return rows(shown.labels, "lag", fill)


def _growth(shown: Shown, ess_needed: int) -> str:
    draws = shown.draws.values
    _, num_chains, num_draws = draws.shape
    num_points = min(ESS_POINTS, num_draws // MIN_DRAWS)
    lengths = np.linspace(num_draws // num_points, num_draws, num_points, dtype=int)
    bulk, tail = (
        np.array([effective_draws(draws[..., :length], method) for length in lengths])
        for method in ("bulk", "tail")
    )
    total = num_chains * lengths

    def fill(ax: Axes, place: int) -> None:
        for values, colour in ((bulk, CHAIN_COLOURS[0]), (tail, CHAIN_COLOURS[1])):
            ax.plot(total, values[:, place], "o-", color=colour)
        ax.plot(total[[0, -1]], [ess_needed] * 2, color=INK, linestyle="-.")
        reached = max(bulk[:, place].max(), tail[:, place].max())
        if reached < FAR_FROM_ENOUGH * ess_needed:
            # a scale up to what is recommended would hide how it grows
            ax.set_ylim(0, 1.3 * reached)
            note = f"recommended: {count(ess_needed)}"
            ax.text(1, 1.02, note, transform=ax.transAxes, ha="right", va="bottom", size=8.5)

    return rows(shown.labels, "draws, all chains together", fill)


def mixing_plans(shown: Shown, ess_needed: int) -> list[Plan]:
    """Ranks, autocorrelation and growth of the effective sample size.

    Parameters
    ----------
    shown
        As `choose` returns it.
    ess_needed
        Recommended effective sample size.
    """
    some, labels = shown.selection, ", ".join(shown.labels)
    ranks = Plan(
        "Ranks",
        "Each line is the share of low and high ranks of one chain, against an equal share. Flat "
        f"lines that cross: the chains agree. p: probability of lines this far apart then.{some}",
        labels,
        partial(_ranks, shown),
    )
    others = [
        Plan(
            "Autocorrelation",
            "Correlation of a draw with the one so many steps before. The sooner it falls into the "
            f"band, the larger the effective sample size.{some}",
            labels,
            partial(_autocorrelation, shown),
        ),
        Plan(
            "Growth of the effective sample size",
            "Blue: bulk, orange: tail, dashed: recommended, only named where it is far above. "
            f"Straight lines upward: longer runs help. Bent or flat lines: they do not.{some}",
            labels,
            partial(_growth, shown, ess_needed),
        ),
    ]
    # ranks are among chains
    return [ranks, *others] if shown.draws.sizes["chain"] > 1 else others
