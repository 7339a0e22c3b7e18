"""Regions that a first look at a target missed: found by few points, or by points on their way.

A cluster takes several points. What lies outside of all clusters, or is in another mode than its
cluster, shows once a mixture over the clusters is adapted: the target's density there is far above
that of the mixture. Such points make some steps of MALA. Where they are still off, they are in a
mode that the mixture lacks, and its region gets the covariance that modes have in common.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture, gaussian_mixture
from numpyro_score.kernels.tempered_smc import move_particles
from numpyro_score.learned.coverage import is_uncovered, log_ratios
from numpyro_score.learned.explore_regions import Found, count_regions, evaluate
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import MAX_REGIONS, Regions
from numpyro_score.learned.rounds import Learned
from numpyro_score.types import RngKey

MOST_MOVED, MOVES = 128, 50
"""Points that are off which are looked at, and MALA steps that they make."""

NEAR = 4.0
"""Squared distance of two points of one Gaussian, in sds above its mean, at most."""

SHARE = 0.3
"""Weight of the new regions together."""


def centers_of(u: Float[np.ndarray, "num dim"], most: int) -> list[int]:
    """Which points are centers of unit Gaussians that all points are near, the first ones first."""
    # between two draws of a unit Gaussian it is 2 chi^2 of d degrees of freedom
    near = 2 * (u.shape[1] + NEAR * math.sqrt(2 * u.shape[1]))
    chosen: list[int] = []
    for i, point in enumerate(u):
        if len(chosen) < most and all(np.sum((point - u[j]) ** 2) > near for j in chosen):
            chosen.append(i)
    return chosen


def with_missed(
    logdensity_fn: FlatLogDensity, modes: Found, learned: Learned, rng_key: RngKey
) -> Found:
    """What was found, with a region for every mode that the adapted mixture lacks.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    modes
        What was found, from which the mixture was adapted.
    learned
        The adapted mixture.
    rng_key
        One key.
    """
    proposal, regions = learned.proposal, modes.regions
    known = (
        logdensity_fn,
        proposal,
        jnp.asarray(learned.quality.log_evidence, proposal.center.dtype),
    )
    off = np.flatnonzero(is_uncovered(np.asarray(log_ratios(*known, jnp.asarray(modes.starts)))))
    off = off[:MOST_MOVED]
    if not off.size:
        return modes
    factor = np.asarray(proposal.factor, np.float64)
    variance = jnp.asarray(np.sum(factor**2, axis=1), proposal.center.dtype)
    step_size = jnp.asarray(len(variance) ** (-1 / 3), variance.dtype)
    # as many points whatever their number, for one program
    x = jnp.asarray(modes.starts[np.resize(off, MOST_MOVED)])
    moved, _, _ = move_particles(logdensity_fn, rng_key, x, step_size, variance, MOVES)
    logdensity, _ = evaluate(logdensity_fn, moved)
    order = np.argsort(-np.asarray(logdensity))
    order = order[is_uncovered(np.asarray(log_ratios(*known, moved)))[order]]
    missed = np.asarray(moved, np.float64)[order]
    whitened = np.linalg.solve(factor, missed.T).T
    new = missed[centers_of(whitened, MAX_REGIONS)]
    starts = modes.starts.copy()
    starts[off] = np.asarray(moved)[: off.size]
    found = regions
    if len(new):
        weights, means, factors = _with(regions.mixture, new, factor)
        found = Regions(gaussian_mixture(weights, means, factors), regions.num + len(new))
    sizes = modes.counts.sum(axis=1).astype(int)
    groups = np.split(starts, np.cumsum(sizes)[:-1])
    num_grad = modes.num_grad + MOST_MOVED * (MOVES + 2)
    return modes._replace(
        starts=starts, regions=found, counts=count_regions(found, groups), num_grad=num_grad
    )


def _with(
    mixture: GaussianMixture, centers: Float[np.ndarray, "num dim"], factor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and factors with new Gaussians before the wide component, which stays last."""
    num = len(centers)
    weights = (1 - SHARE) * np.exp(np.asarray(mixture.log_weights, np.float64))
    places = [len(weights) - 1] * num
    return (
        np.insert(weights, places, SHARE / num),
        np.insert(np.asarray(mixture.means, np.float64), places, centers, axis=0),
        np.insert(np.asarray(mixture.factors, np.float64), places, factor, axis=0),
    )
