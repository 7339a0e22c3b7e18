"""What a proposal lacks, judged at points that were found without it: its own draws do not show it.

Draws of a proposal that lacks a mode, or a tail, have about equal weights. With 64 of the 256 modes
of a product of double wells, .6 of the jumps of a mixture were accepted; another lacked one of 24
labellings, and nothing warned of it.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.learned.region_record import SOME_WEIGHT
from numpyro_score.learned.regions import SMALLEST
from numpyro_score.samplers.proposals import LearnedProposal

HEAVY = 1000.0
"""Density of the target over that of a proposal from which on a point is not covered: a chain there
rejects about this many jumps before it accepts one."""

MOST_UNCOVERED, MOST_OF_REGION = 0.01, 0.5
"""Largest share of the particles, and of the points that found a region, not to be covered."""


def log_ratios(
    proposal: LearnedProposal,
    log_evidence: float,
    x: Float[ArrayLike, "num dim"],
    logdensity: Float[ArrayLike, " num"],
) -> Float[np.ndarray, " num"]:
    """Log of the target's density, of integral 1, over that of a mixture, at points.

    Parameters
    ----------
    proposal
        The mixture.
    log_evidence
        Log of the integral of the target's density.
    x, logdensity
        Points, and the target's log density there.
    """
    log_q = _log_prob(proposal, jnp.asarray(x, proposal.center.dtype))
    return np.asarray(logdensity, np.float64) - log_evidence - np.asarray(log_q, np.float64)


@eqx.filter_jit
def _log_prob(proposal: LearnedProposal, x: Float[Array, "num dim"]) -> Float[Array, " num"]:
    # the density of a mixture uses no key
    return jax.vmap(lambda x: proposal.log_prob(jax.random.key(0), x))(x)


def is_uncovered(ratios: Float[np.ndarray, " num"]) -> Bool[np.ndarray, " num"]:
    """Which points a proposal does not cover, by their `log_ratios`.

    Examples
    --------
    >>> is_uncovered(np.array([0.0, 0.1, 9.0])).tolist()
    [False, False, True]
    """
    return ratios > math.log(HEAVY)


def log_masses(
    regions: GaussianMixture,
    log_evidence: float,
    x: Float[ArrayLike, "num dim"],
    logdensity: Float[ArrayLike, " num"],
) -> tuple[Int[np.ndarray, " num"], Float[np.ndarray, " num"]]:
    """Region of each point, and the log weight that this region has if it is Gaussian.

    Parameters
    ----------
    regions
        The mixture over the regions.
    log_evidence, x, logdensity
        As of `log_ratios`.
    """
    which, own = map(np.asarray, _own_region(regions, jnp.asarray(x, regions.means.dtype)))
    return which, np.asarray(logdensity, np.float64) - log_evidence - own


@eqx.filter_jit
def _own_region(
    regions: GaussianMixture, x: Float[Array, "num dim"]
) -> tuple[Int[Array, " num"], Float[Array, " num"]]:
    parts = jax.vmap(regions.component_log_probs)(x)
    which = jnp.argmax(parts, axis=1)
    own = jnp.take_along_axis(parts, which[:, None], axis=1)[:, 0]
    return which, own - regions.log_weights[which]


def covers(
    particles: Float[np.ndarray, " particle"],
    starts: Float[np.ndarray, " start"],
    which: Int[np.ndarray, " start"],
    masses: Float[np.ndarray, " start"],
) -> bool:
    """Whether a proposal covers what was found of the target.

    Parameters
    ----------
    particles, starts
        `log_ratios` at particles of the target, and at the points that found the regions, whose
        numbers are not in proportion to the weights of the regions.
    which, masses
        `log_masses` of those points.
    """
    if is_uncovered(particles).mean() > MOST_UNCOVERED:
        return False
    is_lacking = is_uncovered(starts)
    # the last is the wide component: what no region covers
    for region in range(which.max()):
        inside = which == region
        is_lost = inside.sum() >= SMALLEST and is_lacking[inside].mean() > MOST_OF_REGION
        if is_lost and np.median(masses[inside]) > math.log(SOME_WEIGHT):
            return False
    return True


def evidence_error(own: float, num_draws: int, ratios: Float[np.ndarray, " num"]) -> float:
    """Standard error of a log evidence, with an allowance for what the proposal's draws missed.

    Under the target the mean of `target / proposal` is one plus the variance of the weights, so
    that particles show a tail of the weights that the draws missed. The share of the particles that
    is not covered counts as missing from the evidence.

    Parameters
    ----------
    own
        Standard error from the weights of the draws.
    num_draws
        How many draws.
    ratios
        `log_ratios` at particles of the target.

    Examples
    --------
    >>> round(evidence_error(0.001, 10_000, np.zeros(100)), 4)
    0.001
    >>> tail = np.where(np.arange(100) == 0, np.log(900.0), 0.0)
    >>> round(evidence_error(0.001, 10_000, tail), 4)
    0.03
    """
    variance = float(np.mean(np.exp(np.minimum(ratios, math.log(HEAVY))))) - 1
    share = float(is_uncovered(ratios).mean())
    missed = -math.log1p(-share) if share < 1 else math.inf
    return math.hypot(max(own, math.sqrt(max(variance, 0.0) / num_draws)), missed)
