"""A product of independent coordinates, adapted by importance sampling: for very many modes.

A posterior of d unknowns each of which has two solutions has `2^d` modes. Neither a mixture of
Gaussians nor particles represent them: of 65,536 modes 4,096 particles are in few, and with weights
that are off. Mixtures in one dimension do, coordinate by coordinate, as far as coordinates are
about independent of each other. They are fitted to particles, then to their own draws, weighted by
target over proposal. Coordinates are those of the position, up to the linear dependence that the
gradients show: `E[g g^T]` is the precision of a Gaussian, and within modes, whatever their weights.
"""

import jax
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.csgraph import connected_components

from numpyro_score.learned.arrived import evaluate
from numpyro_score.learned.explore_regions import Found
from numpyro_score.learned.marginals import fit_marginals
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.rounds import GOOD, LEAST_GAIN, Learned
from numpyro_score.learned.units import Units
from numpyro_score.learned.weighted import Drawn, as_learned, draw
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import product_proposal
from numpyro_score.types import RngKey

MAX_ROUNDS = 6
"""Rounds at most: weights of modes are right after one or two."""

LEAST_CORRELATION = 5.0
"""Standard errors of a correlation, given the other coordinates or not, below which it is taken as
0: its noise would blur narrow modes of a coordinate by the distance of another's modes."""

LARGEST_SIZE = 9.0
"""Squared length of a gradient, in units of the median, beyond which the point is left out: points
still on their way, few as they are, would make all of the correlations."""

RIDGE = 1e-6
"""Added to partial correlations of 1, which keeps nearly dependent coordinates apart."""


def independent_units(
    x: Float[np.ndarray, "num dim"], gradients: Float[np.ndarray, "num dim"]
) -> Units:
    """Coordinates that are uncorrelated within modes, as far as gradients tell.

    Parameters
    ----------
    x, gradients
        Points, and the gradients of the log density there.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> independent_units(x, -x).factor.round(1).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    scale = np.sqrt(np.maximum(np.median(gradients**2, axis=0), 1e-300))
    size = np.sum((gradients / scale) ** 2, axis=1)
    gradients = gradients[size <= LARGEST_SIZE * np.median(size)]
    scale = np.sqrt(np.maximum(np.mean(gradients**2, axis=0), 1e-300))
    standard = gradients / scale
    partial = standard.T @ standard / len(standard) + RIDGE * np.eye(len(scale))
    covariance = np.linalg.inv(partial)
    sds = np.sqrt(np.diagonal(covariance))
    largest = np.maximum(np.abs(partial), np.abs(covariance / np.outer(sds, sds)))
    _, block = connected_components(largest > LEAST_CORRELATION / np.sqrt(len(standard)))
    # what no chain of correlations links is independent
    precision = np.where(block[:, None] == block, partial, 0.0)
    factor = np.linalg.cholesky(np.linalg.inv(precision))
    return Units(x.mean(axis=0), factor / scale[:, None])


def adapt_product(
    logdensity_fn: FlatLogDensity,
    modes: Found,
    particles: Float[Array, "old dim"],
    rng_key: RngKey,
    num_particles: int,
    progress: ProgressCallback | None = None,
) -> Learned:
    """Fit mixtures in one dimension to particles, then to their draws while acceptance rises.

    Parameters
    ----------
    logdensity_fn, modes, particles, rng_key, num_particles, progress
        As of `adapt_mixture`.
    """
    points = np.asarray(particles, np.float64)
    logdensity, gradients = (np.asarray(a) for a in evaluate(logdensity_fn, particles))
    units = independent_units(points, gradients.astype(float))
    data = units.whiten(points)
    found = fit_marginals(data, np.full(len(data), 1 / len(data)))
    drawn: list[Drawn] = []
    best, stopped = 0, "rounds"
    for round_ in range(MAX_ROUNDS):
        if progress is not None:
            progress("fitting a product", round_, MAX_ROUNDS)
        proposal = product_proposal(*found, data=data, center=units.center, factor=units.factor)
        key = jax.random.fold_in(rng_key, round_)
        drawn.append(draw(logdensity_fn, proposal, modes.regions.mixture, key, num_particles))
        quality = drawn[-1].quality
        gain = quality.acceptance_rate - drawn[best].quality.acceptance_rate
        best = round_ if gain > 0 else best
        if quality.acceptance_rate > GOOD:
            stopped = "accepted"
            break
        if not quality.ess_fraction or (round_ > 0 and gain < LEAST_GAIN):
            stopped = "no gain"
            break
        # draws of all rounds, each round by its effective number of points
        draws = units.whiten(np.concatenate([np.asarray(one.x, np.float64) for one in drawn]))
        weights = np.concatenate([one.quality.ess_fraction * one.weights for one in drawn])
        found = fit_marginals(draws, weights / weights.sum(), found)
    key = jax.random.fold_in(rng_key, MAX_ROUNDS)
    given = modes, particles, logdensity, key, num_particles
    return as_learned(drawn, best, stopped, *given)
