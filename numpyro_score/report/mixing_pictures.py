"""Pictures of mixing: ranks, autocorrelation, growth of the effective sample size.

Rank plots: Säilynoja, Bürkner and Vehtari, Graphical test for discrete uniformity (Statistics and
Computing 32, 2022). What is shown is thinned to about independent draws first, as the test assumes.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr
from arviz_plots import plot_autocorr, plot_ess_evolution, plot_rank
from matplotlib.axes import Axes

from numpyro_score.diagnostics.formatting import count
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS
from numpyro_score.report.canvas import SHADE
from numpyro_score.report.figures import draw
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


def _untied(draws: xr.DataArray) -> xr.DataArray:
    """Ranks in place of values, ties broken at random: the test is of ranks without ties."""
    noise = np.random.default_rng(0).random(draws.shape[1:]).ravel()
    ranks = [np.argsort(np.lexsort((noise, values.ravel()))) for values in draws.values]
    return draws.copy(data=np.reshape(ranks, draws.shape).astype(float))


def _ranks(shown: Shown) -> str:
    draws = shown.draws
    size, total = draws.sizes["draw"], draws.sizes["draw"] * draws.sizes["chain"]
    fewest, most = RANKED_DRAWS
    step = math.ceil(total / max(shown.ess, 1.0))
    step = max(min(step, size // fewest), math.ceil(size / most), 1)

    def finish(axes: Sequence[Axes]) -> None:
        for ax in axes:
            for text in ax.texts:
                value = text.get_text().partition("(")[0].removeprefix("p=")
                text.set_text("p < 0.01" if value == "0.00" else f"p = {value}")
                # beside the title, where no line runs
                text.set(transform=ax.transAxes, position=(1, 1.02), ha="right", va="bottom")
            ax.set_ylim(*(1.15 * limit for limit in ax.get_ylim()))

    return draw(
        _untied(draws.isel(draw=slice(None, None, step))),
        plot_rank,
        finish,
        envelope_prob=1 - RANK_LEVEL,
        visuals={"xlabel": {"text": "rank among all chains' draws, as a fraction"}},
    )


def _autocorrelation(shown: Shown) -> str:
    size = shown.draws.sizes["draw"]

    def finish(axes: Sequence[Axes]) -> None:
        for ax in axes:
            band = 1.96 / math.sqrt(size)
            ax.axhspan(-band, band, **SHADE)
            ax.set_ylim(-0.3, 1.05)

    return draw(
        shown.draws,
        plot_autocorr,
        finish,
        max_lag=min(MAX_LAG, size - 1),
        # arviz-plots' own band is that of a series as long as the number of lags
        visuals={"credible_interval": False, "xlabel": {"text": "lag"}},
    )


def _growth(shown: Shown, ess_needed: int) -> str:
    def finish(axes: Sequence[Axes]) -> None:
        for ax in axes:
            drawn = [np.asarray(points.get_offsets()) for points in ax.collections]
            reached = max(float(places[:, 1].max()) for places in drawn)
            if reached < FAR_FROM_ENOUGH * ess_needed:
                # a scale up to what is recommended would hide how it grows
                ax.set_ylim(0, 1.3 * reached)
                note = f"recommended: {count(ess_needed)}"
                ax.text(1, 1.02, note, transform=ax.transAxes, ha="right", va="bottom", size=8.5)

    return draw(
        shown.draws,
        plot_ess_evolution,
        finish,
        by_chain=False,
        n_points=min(ESS_POINTS, shown.draws.sizes["draw"] // MIN_DRAWS),
        min_ess=ess_needed,
        visuals={"xlabel": {"text": "draws, all chains together"}},
    )


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
