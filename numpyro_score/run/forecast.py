"""What the draws so far say of those to come: whether a kernel is too slow, or stays at a place."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from numpyro_score.run.density import RunDensity

WORTH = 1_000
"""Further steps of each chain from which on another kernel, with a warmup of its own, can pay."""
SLOW = 25
"""Steps for one effective draw from which on `MALA` is slow. The draws to 100 effective ones of a
chain then cost what the warmup and the draws of `MAMS` together cost on posteriors where warmup
finds trajectories of one or two steps. After 100 draws of 64 chains it was 2 to 14 on nine
posteriors on which `MALA` is the cheaper one, and 48 to 89 on seven on which it is not."""
FEWEST = 1_600
"""Steps of all chains before which nothing is said of that. With 4 chains of 100 draws 3 of 14 runs
seemed slow that were not."""
FIRST_FORECAST = 300
"""Steps of each chain before which nothing is said of chains that stay at a place."""
LONG_STAY = 40
"""Steps at one place that tell that the step size is far too long there. Where it is right,
not even half of the moves are rejected, and so many in a row have a probability below 1e-12."""


class Seen(NamedTuple):
    """What is known during a run that ends by its effective sample size.

    Attributes
    ----------
    samples
        The draws so far, a pytree of `(chain, draw, ...)`.
    num_chains, num_draws
        Chains, and draws of each.
    ess
        Smallest effective sample size of a parameter; NaN if it is not known.
    wanted
        Effective sample size at which the run ends.
    most
        Draws of each chain at which it ends in any case.
    thinning
        Steps for each of these draws.
    num_elsewhere
        Short chains from dispersed starts that ended where the run has no draws; 0 before they
        are run.
    density
        The log density of the run, if it is known.
    """

    samples: Any
    num_chains: int
    num_draws: int
    ess: float
    wanted: int
    most: int
    thinning: int = 1
    num_elsewhere: int = 0
    density: RunDensity | None = None

    @property
    def needed(self) -> float:
        """Draws of each chain at the goal, if effective draws come as they did."""
        return self.num_draws * self.wanted / self.ess if self.ess > 0 else math.inf


def slow(seen: Seen) -> str:
    """Whether far too few draws are effective, and many are still to come.

    Returns
    -------
    str
        What was found, or nothing.
    """
    per_effective = seen.thinning * seen.needed * seen.num_chains / seen.wanted
    is_long = seen.thinning * (min(seen.needed, seen.most) - seen.num_draws) >= WORTH
    is_told = seen.thinning * seen.num_chains * seen.num_draws >= FEWEST
    if per_effective <= SLOW or not (is_long and is_told):
        return ""
    if math.isinf(per_effective):
        return f"its first {seen.num_draws} draws of each chain have no effective sample size"
    unit = "draw" if seen.thinning == 1 else "step"
    return f"only one {unit} in {per_effective:.0f} was effective"


def freezes(seen: Seen) -> str:
    """Whether few draws are effective, and a chain stayed at one place for long.

    Returns
    -------
    str
        What was found, or nothing.
    """
    stay = seen.thinning * longest_stay(seen.samples) if slow(seen) else 0
    return _stayed(stay, seen) if stay >= LONG_STAY else ""


def _stayed(stay: int, seen: Seen) -> str:
    unit = "draws" if seen.thinning == 1 else "steps"
    return f"a chain stayed at one place for {stay} {unit}"


def stays(seen: Seen) -> str:
    """Whether the goal is out of reach, and a chain stayed at one place for long.

    Returns
    -------
    str
        What was found, or nothing.
    """
    if seen.thinning * seen.num_draws < FIRST_FORECAST or seen.needed <= seen.most:
        return ""
    stay = seen.thinning * longest_stay(seen.samples)
    if stay < LONG_STAY:
        return ""
    return f"with one for all moves {_stayed(stay, seen)}, and the goal was out of reach"


def longest_stay(samples: Any) -> int:
    """Most consecutive draws at which a chain did not move.

    Parameters
    ----------
    samples
        A pytree of draws, each `(chain, draw, ...)`.

    Examples
    --------
    >>> longest_stay({"x": np.array([[1.0, 2.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0]])})
    2
    """
    from numpyro_score.diagnostics.rejection import longest_rejection

    leaves = [x.reshape(*x.shape[:2], -1) for x in jax.tree.leaves(samples)]
    moves = [(np.diff(x, axis=1) != 0).any(axis=2) for x in leaves]
    return int(longest_rejection(np.logical_or.reduce(moves)).max(initial=0))
