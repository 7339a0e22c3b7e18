"""Regions that the exploration missed: found by few points, or by points that had not arrived.

A cluster takes several points. A point outside of all clusters, or in another mode than its
cluster, shows once a mixture over the clusters is adapted: the target's density there is far above
that of the mixture. Copies of such points make some steps of MALA. Those that the mixture does not
cover then are in modes that it lacks, and are clustered in their turn.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from numpyro_score.kernels.gaussian_mixture import gaussian_mixture
from numpyro_score.kernels.tempered_smc import move_particles
from numpyro_score.learned.arrived import evaluate
from numpyro_score.learned.coverage import is_uncovered, log_ratios
from numpyro_score.learned.explore_regions import Found, count_regions
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import SMALLEST, Regions, assign, find_regions
from numpyro_score.learned.rounds import Learned
from numpyro_score.types import RngKey

MOST_MOVED, MOVES = 128, 50
"""Points that are moved at most, of those that are not covered, and MALA steps of each."""

PER_DIMENSION = 2
"""Points of a new region for each dimension, below which it takes the mixture's covariance within
modes."""

SHARE = 0.3
"""Weight of the new regions together."""


def with_missed(
    logdensity_fn: FlatLogDensity, modes: Found, learned: Learned, rng_key: RngKey
) -> Found:
    """What was found, with regions for the modes that the adapted mixture lacks.

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
    known = proposal, learned.quality.log_evidence
    off = np.flatnonzero(is_uncovered(log_ratios(*known, modes.starts, modes.logdensity)))
    off = off[:MOST_MOVED]
    if not off.size:
        return modes
    factor = np.asarray(proposal.factor, np.float64)
    variance = jnp.asarray(np.sum(factor**2, axis=1), proposal.center.dtype)
    step_size = jnp.asarray(len(variance) ** (-1 / 3), variance.dtype)
    # as many points whatever their number, for one program
    x = jnp.asarray(modes.starts[np.resize(off, MOST_MOVED)])
    moved, _, _ = move_particles(logdensity_fn, rng_key, x, step_size, variance, MOVES)
    logdensity, gradients = (np.asarray(a) for a in evaluate(logdensity_fn, moved))
    starts, of_starts = modes.starts.copy(), modes.logdensity.copy()
    starts[off], of_starts[off] = np.asarray(moved)[: off.size], logdensity[: off.size]
    found, is_missed = regions, is_uncovered(log_ratios(*known, moved, logdensity))
    missed = np.asarray(moved)[is_missed]
    if len(np.unique(missed, axis=0)) >= SMALLEST:
        new = find_regions(missed, logdensity[is_missed], gradients[is_missed])
        which = np.asarray(assign(new.mixture, jnp.asarray(missed)))
        has_few = np.bincount(which, minlength=new.num + 1) < PER_DIMENSION * missed.shape[1]
        has_few[-1] = False
        factors = np.where(has_few[:, None, None], factor, np.asarray(new.mixture.factors))
        found = joined(regions, new, factors)
    ends = np.cumsum(modes.counts.sum(axis=1).astype(int))
    groups = np.split(starts, ends[:-1])
    return modes._replace(
        starts=starts,
        logdensity=of_starts,
        regions=found,
        counts=count_regions(found, groups),
        num_grad=modes.num_grad + MOST_MOVED * (MOVES + 2),
    )


def joined(
    regions: Regions, new: Regions, factors: Float[np.ndarray, "component dim dim"]
) -> Regions:
    """Both sets of regions, the new ones before the wide Gaussian of the first.

    The wide Gaussian of the new ones is a region too: it covers a mode whose points fall into
    several small clusters.

    Parameters
    ----------
    regions
        Those that were known.
    new, factors
        Those of points that were missed, and the factors to give them.
    """
    kept, more = (
        [np.asarray(a, np.float64) for a in (np.exp(one.log_weights), one.means, one.factors)]
        for one in (regions.mixture, new.mixture)
    )
    kept[0], more[0], more[2] = (1 - SHARE) * kept[0], SHARE * more[0], factors
    place = [len(kept[0]) - 1] * len(factors)
    joint = (np.insert(a, place, b, axis=0) for a, b in zip(kept, more, strict=True))
    return Regions(gaussian_mixture(*joint), regions.num + len(factors))
