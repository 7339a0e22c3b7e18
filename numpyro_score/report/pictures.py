"""The four pictures of a run: ranks, traces with warmup, autocorrelation, growth of ESS.

Each shows the parameters that are least to be trusted, and a bounded number of chains and points.
Rank plots: Säilynoja, Bürkner and Vehtari, Graphical test for discrete uniformity (Statistics and
Computing 32, 2022). What is shown is thinned to about independent draws first, as the test assumes.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr
from arviz_plots import plot_autocorr, plot_ess_evolution, plot_rank, plot_trace
from matplotlib.axes import Axes

from numpyro_score.diagnostics.draws import posterior, select
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, worst_first
from numpyro_score.diagnostics.verdict import Verdict
from numpyro_score.report.figures import draw

MAX_CHAINS = 32
"""Chains in one picture; beyond, those furthest from the others are shown."""

MAX_TRACE_POINTS = 600
"""Points of a trace, a chain: about as many as the figure has pixels across."""

RANKED_DRAWS = (50, 200)
"""Fewest and most draws a chain whose ranks are shown: the rank test's time grows with them."""

MAX_LAG = 60
"""Lags of the autocorrelation."""

ESS_POINTS = 12
"""Lengths at which the effective sample sizes are computed again."""

RANK_LEVEL = 0.01
"""Level of the test of equal ranks, below which points are marked."""


class Picture(NamedTuple):
    """One figure of the page.

    Attributes
    ----------
    title
        What it is.
    caption
        How to read it.
    uri
        The image itself, a `data:` address; empty if it could not be drawn.
    alt
        The same in words, for who cannot see it.
    """

    title: str
    caption: str
    uri: str
    alt: str


class Shown(NamedTuple):
    """What the pictures of a run show.

    Attributes
    ----------
    draws
        Dimensions `(parameter, chain, draw)`.
    warmup
        The same of the warmup, or None.
    ess
        Effective sample size of the worst of the parameters.
    """

    draws: xr.DataArray
    warmup: xr.DataArray | None
    ess: float


def _furthest(draws: xr.DataArray) -> list[int]:
    """Places of the chains whose means are furthest from the others', in the chains' order."""
    means = draws.mean("draw")
    spread = draws.std(("chain", "draw")).where(lambda sd: sd > 0, 1.0)
    score = (abs(means - means.median("chain")) / spread).max("parameter")
    return sorted(np.argsort(-score.values, kind="stable")[:MAX_CHAINS].tolist())


def choose(dt: xr.DataTree, table: xr.Dataset, num_shown: int) -> Shown | None:
    """The parameters and chains that are shown: those least to be trusted; None if there are none.

    Parameters
    ----------
    dt
        Draws, of any origin.
    table
        `convergence(dt)`.
    num_shown
        Parameters at most.
    """
    finite = table.is_finite.values
    places = [place for place in worst_first(table) if finite[place]][:num_shown]
    if not places or dt["posterior"].sizes["draw"] < MIN_DRAWS:
        return None
    data = posterior(dt)
    draws = select(data, places)
    chains = _furthest(draws) if draws.sizes["chain"] > MAX_CHAINS else slice(None)
    warmup = None
    if "warmup_posterior" in dt.children:
        group = dt["warmup_posterior"].to_dataset()
        # another program's warmup may hold other variables
        if set(data.data_vars) <= set(group.data_vars) and group.sizes["draw"]:
            warmup = select(group[list(data.data_vars)], places).isel(chain=chains)
    ess = float(np.nanmin([table.ess_bulk.values[places], table.ess_tail.values[places]]))
    return Shown(draws.isel(chain=chains), warmup, ess)


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
        for text in (text for ax in axes for text in ax.texts):
            value = text.get_text().partition("(")[0].removeprefix("p=")
            text.set_text("p < 0.01" if value == "0.00" else f"p = {value}")
        for ax in axes:
            ax.set_ylim(*(1.15 * limit for limit in ax.get_ylim()))

    return draw(
        _untied(draws.isel(draw=slice(None, None, step))),
        plot_rank,
        finish,
        envelope_prob=1 - RANK_LEVEL,
        visuals={"xlabel": {"text": "rank among all chains' draws, as a fraction"}},
    )


def _traces(shown: Shown) -> str:
    draws, warmup = shown.draws, shown.warmup
    num_warmup = 0 if warmup is None else warmup.sizes["draw"]
    both = draws if warmup is None else xr.concat([warmup, draws], "draw")
    numbered = both.assign_coords(draw=np.arange(both.sizes["draw"]) - num_warmup)
    step = math.ceil(both.sizes["draw"] / MAX_TRACE_POINTS)

    def finish(axes: Sequence[Axes]) -> None:
        for ax, values in zip(axes, draws.values, strict=True):
            low, high = values.min(), values.max()
            # the first steps of a warmup may be so far away that the rest would be a line
            data_low, data_high = ax.get_ylim()
            room = 0.6 * (high - low)
            ax.set_ylim(max(data_low, low - room), min(data_high, high + room))
            if num_warmup:
                ax.axvspan(-num_warmup, 0, color="#000000", alpha=0.13, linewidth=0)
                ax.set_xlim(-num_warmup, draws.sizes["draw"])
        axes[-1].set_xlabel("draw; before 0: warmup" if num_warmup else "draw")

    return draw(
        numbered.isel(draw=slice(None, None, step)),
        plot_trace,
        finish,
        visuals={"trace": {"alpha": 0.8, "width": 0.6}},
    )


def _autocorrelation(shown: Shown) -> str:
    size = shown.draws.sizes["draw"]

    def finish(axes: Sequence[Axes]) -> None:
        for ax in axes:
            band = 1.96 / math.sqrt(size)
            ax.axhspan(-band, band, color="#000000", alpha=0.13, linewidth=0)
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
    return draw(
        shown.draws,
        plot_ess_evolution,
        by_chain=False,
        n_points=min(ESS_POINTS, shown.draws.sizes["draw"] // MIN_DRAWS),
        min_ess=ess_needed,
        visuals={"xlabel": {"text": "draws, all chains together"}},
    )


def pictures(
    shown: Shown, verdict: Verdict, name: str, note: Callable[[str], None] = lambda title: None
) -> list[Picture]:
    """Ranks, traces, autocorrelation and growth of the effective sample size of one run.

    Parameters
    ----------
    shown
        As `choose` returns it.
    verdict
        `judge` of the run.
    name
        What the run is called.
    note
        Called with the title of each picture before it is drawn.
    """
    total = verdict.num_chains
    kept = shown.draws.sizes["chain"]
    some = "" if kept == total else f" The {kept} of {total} chains furthest from the others."
    warm = " Shaded: warmup, which is not used." if shown.warmup is not None else ""
    parts: list[tuple[str, str, Callable[[], str]]] = [
        (
            "Ranks",
            "Each line is a chain's share of low and high ranks, against an equal share. Flat "
            "lines that cross: the chains agree. p: chance of lines this far apart if they "
            f"do.{some}",
            partial(_ranks, shown),
        ),
        (
            "Traces",
            "Draws in their order, a colour a chain. A fat hairy caterpillar is what one hopes "
            f"for; slow waves or separate levels are not.{warm}{some}",
            partial(_traces, shown),
        ),
        (
            "Autocorrelation",
            "How much a draw resembles the one so many steps before. The sooner it falls into the "
            f"band, the more a draw is worth.{some}",
            partial(_autocorrelation, shown),
        ),
        (
            "Growth of the effective sample size",
            "Blue: bulk, orange: tail, dashed: what is asked for. Straight lines upward: longer "
            f"runs help. Bent or flat: they do not.{some}",
            partial(_growth, shown, verdict.ess_needed),
        ),
    ]
    labels = ", ".join(shown.draws.label.values.tolist())
    made = []
    # ranks are among chains
    for title, caption, make in parts if kept > 1 else parts[1:]:
        note(title)
        try:
            uri = make()
        except Exception as error:
            # draws so odd that they cannot be drawn must not cost the rest of the report
            uri, caption = "", f"This could not be drawn ({type(error).__name__}: {error})."
        made.append(Picture(title, caption, uri, f"{title} of {name}: {labels}. {caption}"))
    return made
