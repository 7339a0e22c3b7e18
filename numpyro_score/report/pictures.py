"""What the pictures of a run show: the least reliable parameters, a bounded number of chains."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, worst_first

MAX_CHAINS = 32
"""Chains in one picture; of more, those furthest from the others are shown."""


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
        A description for readers who cannot see it.
    """

    title: str
    caption: str
    uri: str
    alt: str


class Plan(NamedTuple):
    """A picture to be drawn.

    Attributes
    ----------
    title, caption
        Of the picture.
    shows
        What is in it, in words.
    make
        Draws it, and returns its address.
    """

    title: str
    caption: str
    shows: str
    make: Callable[[], str]


class Shown(NamedTuple):
    """What the pictures of a run show.

    Attributes
    ----------
    draws
        Dimensions `(parameter, chain, draw)`.
    warmup
        The same of the warmup, or None.
    places
        Places of the parameters among the scalars of the posterior.
    ess
        Effective sample size of the worst of the parameters.
    num_chains
        Chains of the run, shown or not.
    """

    draws: xr.DataArray
    warmup: xr.DataArray | None
    places: list[int]
    ess: float
    num_chains: int

    @property
    def labels(self) -> list[str]:
        """Names of the parameters."""
        return [str(label) for label in self.draws.label.values]

    @property
    def selection(self) -> str:
        """That not all chains are shown, in a sentence, or nothing."""
        kept = self.draws.sizes["chain"]
        if kept == self.num_chains:
            return ""
        return f" The {kept} of {self.num_chains} chains furthest from the others."


def _furthest(draws: xr.DataArray) -> list[int]:
    """Places of the chains whose means are furthest from the others', in the chains' order."""
    means = draws.mean("draw")
    spread = draws.std(("chain", "draw")).where(lambda sd: sd > 0, 1.0)
    score = (abs(means - means.median("chain")) / spread).max("parameter")
    return sorted(np.argsort(-score.values, kind="stable")[:MAX_CHAINS].tolist())


def choose(dt: xr.DataTree | FlatDraws, table: xr.Dataset, num_shown: int) -> Shown | None:
    """The parameters and chains that are shown, the least reliable; None if there are none.

    Parameters
    ----------
    dt
        Draws, of any origin.
    table
        `convergence(dt)` or `mixing(dt)`.
    num_shown
        Parameters at most.
    """
    finite = table.is_finite.values
    places = [place for place in worst_first(table) if finite[place]][:num_shown]
    draws = flatten(dt)
    if not places or draws.num_draws < MIN_DRAWS:
        return None
    chosen = draws.select(places)
    chains = _furthest(chosen) if draws.num_chains > MAX_CHAINS else slice(None)
    before = None
    if draws.warmup[0] is not None:
        before = draws.select(places, of_warmup=True).isel(chain=chains)
    ess = float(np.nanmin([table.ess_bulk.values[places], table.ess_tail.values[places]]))
    return Shown(chosen.isel(chain=chains), before, places, ess, draws.num_chains)


def pictures(
    plans: Sequence[Plan], name: str, note: Callable[[str], None] = lambda title: None
) -> list[Picture]:
    """Draw pictures; one that cannot be drawn says so.

    Parameters
    ----------
    plans
        The pictures.
    name
        What the run is called.
    note
        Called with the title of each picture before it is drawn.
    """
    made = []
    for plan in plans:
        note(plan.title)
        caption = plan.caption
        try:
            uri = plan.make()
        except Exception as error:
            # a picture that cannot be drawn must not cost the rest of the report
            uri, caption = "", f"This could not be drawn ({type(error).__name__}: {error})."
        alt = f"{plan.title} of {name}: {plan.shows}. {caption}"
        made.append(Picture(plan.title, caption, uri, alt))
    return made
