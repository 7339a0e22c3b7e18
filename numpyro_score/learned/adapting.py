"""A mixture of Gaussians over the regions, adapted by importance sampling: no network is trained.

Draws of the mixture, weighted by target over proposal, determine its weights, means and covariances
anew, by expectation-maximisation (population Monte Carlo for mixtures, Cappe, Douc, Guillin, Marin
and Robert 2008, doi:10.1007/s11222-008-9059-x). Where that no longer raises the acceptance of
jumps, and there are enough effective draws, every component is split in two: a mode that is not
Gaussian needs several. Covariances are shrunken towards the pooled covariance within modes. A
mixture that is close to the target is a better proposal than a network learns, in a tenth of the
time. One that is not shows it by its importance weights, except for a mode that it lacks: that one
shows at the points that found it.
"""

import jax
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.learned.arrived import evaluate
from numpyro_score.learned.components import Components, refit, split, with_tails
from numpyro_score.learned.em import fit_components
from numpyro_score.learned.explore_regions import Found
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import SMALLEST
from numpyro_score.learned.rounds import GOOD, LEAST_GAIN, Learned
from numpyro_score.learned.units import units_of
from numpyro_score.learned.weighted import Drawn, as_learned, draw
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import mixture_proposal
from numpyro_score.types import RngKey

SUFFICIENT = 0.4
"""Acceptance of a mixture's or product's jumps from which no network is trained. Such a jump costs
one evaluation, so that rare jumps can be made up for by more of them, and training could at best
double the acceptance."""

MAX_ROUNDS = 12
"""Rounds at most: two are enough where modes are near Gaussian; splits take more."""

PER_DIMENSION = 2
"""A component keeps its mean and covariance if it has fewer effective draws than this number for
each dimension and `SMALLEST` more."""

PER_HALF = 4
"""Components are split only if they have on average this multiple of that number."""


def _first(regions: Components, data: Float[np.ndarray, "num dim"]) -> Components:
    equal = np.full(len(data), 1 / len(data))
    return with_tails(refit(regions, data, equal, regions.share_out(data)[1], SMALLEST))


def adapt_mixture(
    logdensity_fn: FlatLogDensity,
    modes: Found,
    particles: Float[Array, "old dim"],
    rng_key: RngKey,
    num_particles: int,
    progress: ProgressCallback | None = None,
) -> Learned:
    """Fit the mixture to particles, then to its own weighted draws while acceptance rises.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    modes
        Regions, and the points that found them, which the mixture has to cover.
    particles
        Of the target, roughly: weights of regions may be wrong.
    rng_key
        One key.
    num_particles
        Particles to return; each round draws four times as many.
    progress
        Called with the phase.
    """
    regions = modes.regions.mixture
    points = np.asarray(particles, np.float64)
    logdensity, gradients = (np.asarray(a) for a in evaluate(logdensity_fn, particles))
    units = units_of(regions, points, gradients.astype(float))
    data = units.whiten(points)
    components = _first(units.components(regions), data)
    fewest = PER_DIMENSION * points.shape[1] + SMALLEST
    drawn: list[Drawn] = []
    best, stopped, has_split = 0, "rounds", False
    for round_ in range(MAX_ROUNDS):
        if progress is not None:
            progress("fitting a mixture", round_, MAX_ROUNDS)
        proposal = mixture_proposal(
            components.mixture, data=data, center=units.center, factor=units.factor
        )
        key = jax.random.fold_in(rng_key, round_)
        drawn.append(draw(logdensity_fn, proposal, regions, key, num_particles))
        found = drawn[-1].quality
        gain = found.acceptance_rate - drawn[best].quality.acceptance_rate
        best = round_ if gain > 0 else best
        is_stuck = round_ > 0 and gain < LEAST_GAIN
        num_points = found.ess_fraction * len(drawn[-1].x)
        can_split = not has_split and num_points > PER_HALF * fewest * len(components.weights)
        if not num_points or (is_stuck and not (can_split and found.acceptance_rate < GOOD)):
            stopped = "no gain"
            break
        # halves take a round to separate
        has_split = is_stuck
        components = fit_components(
            split(components) if is_stuck else components,
            units.whiten(np.asarray(drawn[-1].x, np.float64)),
            drawn[-1].weights,
            fewest,
        )
    key = jax.random.fold_in(rng_key, MAX_ROUNDS)
    given = modes, particles, logdensity, key, num_particles
    return as_learned(drawn, best, stopped, *given)
