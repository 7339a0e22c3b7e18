"""Ranks of true values among the draws of their posteriors, normalised to [0, 1].

If parameters are drawn from the prior, data given them, and draws from the posterior given the
data, the true value is one more draw, and its rank among L independent draws is uniform (Talts et
al. 2018, arXiv:1804.06788). Draws of a chain are dependent, so that each refit is thinned to about
its effective sample size, which does not depend on the true value. With a uniform random number
that breaks ties, `(rank + uniform) / (L + 1)` is uniform on [0, 1] for every L.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

FEWEST = 50
"""Effective draws of a refit below which its ranks are coarse."""


class Ranked(NamedTuple):
    """Refits, reduced to what the verdict needs; leading axis `simulation`, then `quantity`.

    Attributes
    ----------
    pit
        `(rank + uniform) / (L + 1)`; NaN where draws are not finite.
    truth, mean, sd
        The true value, and mean and sd of the draws.
    ess
        Smallest effective sample size over the quantities and their squares, `(simulation,)`.
    rhat
        Largest split R-hat over the quantities, `(simulation,)`.
    """

    pit: Float[np.ndarray, "simulation quantity"]
    truth: Float[np.ndarray, "simulation quantity"]
    mean: Float[np.ndarray, "simulation quantity"]
    sd: Float[np.ndarray, "simulation quantity"]
    ess: Float[np.ndarray, " simulation"]
    rhat: Float[np.ndarray, " simulation"]


def rank(
    truth: Float[np.ndarray, "simulation quantity"],
    draws: Float[np.ndarray, "simulation chain draw quantity"],
    rng: np.random.Generator,
    *,
    is_independent: bool = False,
) -> Ranked:
    """Rank every truth among the draws of its refit.

    Parameters
    ----------
    truth, draws
        Simulated values, and draws of their posteriors.
    rng
        For breaking ties.
    is_independent
        Whether draws are independent, so that none are left out.
    """
    truth, draws = np.asarray(truth, np.float64), np.asarray(draws, np.float64)
    num, chains, length, _ = draws.shape
    is_finite = np.isfinite(draws).all(axis=(1, 2)) & np.isfinite(truth)
    safe = np.where(is_finite[:, None, None, :], draws, 0.0)
    # draws are moved to the leading axes, as the diagnostics want them
    moved = np.moveaxis(safe, 0, 2)
    ess, rhat = np.full(num, float(chains * length)), np.full(num, np.nan)
    has_moved = np.full(num, True)
    if not is_independent:
        ess, has_moved = least_effective(moved), (np.ptp(moved, axis=(0, 1)) > 0).any(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            rhat = np.nanmax(np.append(split_gelman_rubin(moved), np.ones((num, 1)), 1), axis=1)
    pit = np.full(truth.shape, np.nan)
    for i in range(num):
        every = max(int(np.ceil(chains * length / ess[i])), 1)
        flat = safe[i, :, every - 1 :: every].reshape(-1, truth.shape[1])
        if len(flat) == 0:
            flat = safe[i, :, -1]
        below = (flat < truth[i]).sum(axis=0)
        ties = (flat == truth[i]).sum(axis=0)
        place = below + rng.uniform(size=truth.shape[1]) * (ties + 1)
        pit[i] = place / (len(flat) + 1)
    pit = np.where(is_finite, pit, np.nan)
    joined = safe.reshape(num, chains * length, -1)
    # chains that never moved are one draw, but ranked as those that they are given for
    ess = np.where(has_moved, ess, 1.0)
    return Ranked(pit, truth, joined.mean(axis=1), joined.std(axis=1), ess, rhat)


def least_effective(
    draws: Float[np.ndarray, "chain draw *batch quantity"],
) -> Float[np.ndarray, "*batch"]:
    """Smallest effective sample size over the quantities and their squares.

    It is between 1 and the number of draws, which it is where no quantity varies.

    Examples
    --------
    >>> bool(least_effective(np.random.default_rng(0).normal(size=(4, 100, 1))) > 200)
    True
    """
    both = np.concatenate([draws, (draws - draws.mean(axis=(0, 1))) ** 2], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = effective_sample_size(both)
    # a quantity that is constant given the data has no autocorrelation; an estimate below zero is
    # of antithetic draws, whose mean is more precise than that of independent ones
    is_known = (np.ptp(both, axis=(0, 1)) > 0) & np.isfinite(each) & (each > 0)
    worst = np.where(is_known, each, np.inf).min(axis=-1)
    return np.asarray(np.clip(worst, 1.0, np.prod(draws.shape[:2])))
