"""A mixture of Gaussians over the regions, adapted by importance sampling: nothing to train.

Draws of the mixture, weighted by target over proposal, give its components new weights, means and
covariances, every draw shared out among components by their density there (population Monte Carlo
for mixtures, Cappe, Douc, Guillin, Marin and Robert 2008, doi:10.1007/s11222-008-9059-x).
Covariances are shrunken to the one that modes have in common. Where modes are near Gaussian this is
a better proposal than a network learns, in a tenth of the time. Where they are not, its weights
tell; where it lacks a mode, the points that found the mode do.
"""

import math
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.learned.components import Components, memberships, refit, with_tails
from numpyro_score.learned.covariance import shrunken_gaussian
from numpyro_score.learned.explore_regions import Found, evaluate
from numpyro_score.learned.importance import LARGEST_K, quality
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.region_record import SOME_WEIGHT
from numpyro_score.learned.regions import SMALLEST, assign, scale_within_modes, shares
from numpyro_score.learned.resampling import truncated
from numpyro_score.learned.rounds import ENOUGH, LEAST_GAIN, Learned, Round, weigh
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import LearnedProposal, mixture_proposal
from numpyro_score.types import RngKey

SUFFICIENT = 0.4
"""Acceptance of the mixture's jumps from which no network is trained. A jump of the mixture costs
one evaluation, so that rare jumps can be made up for by more of them, and training could at best
double the acceptance."""

MAX_ROUNDS = 6
"""Rounds at most: two are enough where modes are near Gaussian."""

BATCHES = 4
"""Draws of a round, in units of the number of particles: they need no gradient."""

PER_DIMENSION = 2
"""Effective draws of a component for each dimension, below which it stays as it was."""

HEAVY = 1000.0
"""Density of the target over that of the proposal from which a point counts as not covered."""

MOST_UNCOVERED, MOST_OF_REGION = 0.01, 0.5
"""Share of the particles, and of the points that found a region, that may not be covered."""


class Units(NamedTuple):
    """Coordinates `u` in which modes have about unit covariance, `x = center + factor u`."""

    center: Float[np.ndarray, " dim"]
    factor: Float[np.ndarray, "dim dim"]

    def whiten(self, x: Float[np.ndarray, "num dim"]) -> Float[np.ndarray, "num dim"]:
        """Coordinates `u` of points."""
        return np.linalg.solve(self.factor, (x - self.center).T).T

    def components(self, mixture: GaussianMixture) -> Components:
        """A mixture of `x` as one of `u`."""
        log_weights, means, factors = (
            np.asarray(a, np.float64) for a in (mixture.log_weights, mixture.means, mixture.factors)
        )
        whitened = np.linalg.solve(self.factor, factors)
        return Components(np.exp(log_weights), self.whiten(means), whitened)


def units_of(
    regions: GaussianMixture,
    x: Float[np.ndarray, "num dim"],
    gradients: Float[np.ndarray, "num dim"],
) -> Units:
    """The covariance that modes have in common: that of points about the means of their regions.

    Parameters
    ----------
    regions
        The mixture over the regions, the wide component last.
    x, gradients
        Points, and the gradients of the log density there.
    """
    which = np.asarray(assign(regions, jnp.asarray(x, regions.means.dtype)))
    counts = np.bincount(which, minlength=len(regions.log_weights))
    # what no region covers has no mean of its own, unless there is no region
    is_region = counts >= SMALLEST
    is_region[-1] = not is_region[:-1].any()
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, which, x)
    inside = is_region[which]
    residuals = (x - sums[which] / counts[which, None])[inside]
    equal = np.full(len(residuals), 1 / len(residuals))
    _, factor = shrunken_gaussian(residuals, equal, scale_within_modes(x, gradients))
    return Units(x.mean(axis=0), factor)


@eqx.filter_jit
def is_off(
    logdensity_fn: FlatLogDensity,
    proposal: LearnedProposal,
    log_evidence: Float[Array, ""],
    x: Float[Array, "num dim"],
) -> Bool[Array, " num"]:
    """Whether the target's normalised density at each point is far above that of the mixture."""
    log_q = jax.vmap(partial(proposal.log_prob, jax.random.key(0)))(x)  # which uses no key
    return jax.vmap(logdensity_fn)(x) - log_evidence - log_q > math.log(HEAVY)


def covers(
    particles: Bool[np.ndarray, " particle"],
    starts: Bool[np.ndarray, " start"],
    which: Int[np.ndarray, " start"],
    log_masses: Float[np.ndarray, " start"],
) -> bool:
    """Whether a proposal goes wherever the target was found.

    Draws of a mixture that lacks modes do not tell: of 256 double wells, of which it has 64, or one
    of 24 labellings.

    Parameters
    ----------
    particles
        Which particles, of the target's distribution, are off.
    starts, which, log_masses
        Which of the points that found the regions are off, their region, and what the density there
        says of its weight, roughly. Most are in lesser modes, more often than by their weight.
    """
    if particles.mean() > MOST_UNCOVERED:
        return False
    # the last is what no region covers
    for region in range(which.max()):
        inside = which == region
        is_off = inside.sum() >= SMALLEST and starts[inside].mean() > MOST_OF_REGION
        if is_off and np.median(log_masses[inside]) > math.log(SOME_WEIGHT):
            return False
    return True


@eqx.filter_jit
def log_masses(
    logdensity_fn: FlatLogDensity,
    regions: GaussianMixture,
    log_evidence: Float[Array, ""],
    x: Float[Array, "num dim"],
) -> tuple[Int[Array, " num"], Float[Array, " num"]]:
    """Region of each point, and the log weight that it would have if it were the Gaussian there."""
    parts = jax.vmap(regions.component_log_probs)(x) - regions.log_weights
    which = jnp.argmax(parts + regions.log_weights, axis=1)
    own = jnp.take_along_axis(parts, which[:, None], axis=1)[:, 0]
    return which, jax.vmap(logdensity_fn)(x) - log_evidence - own


def suffices(learned: Learned, acceptance: float) -> bool:
    """Whether a proposal covers what was found, its jumps are accepted, and no tail is heavy."""
    found = learned.quality
    is_accepted = found.acceptance_rate > acceptance and found.pareto_k <= LARGEST_K
    return is_accepted and learned.covers


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
    # takes long to import
    from blackjax.smc import resampling

    regions = modes.regions.mixture
    num, dim = particles.shape
    points = np.asarray(particles, np.float64)
    _, gradients = evaluate(logdensity_fn, particles)
    units = units_of(regions, points, np.asarray(gradients, np.float64))
    data = units.whiten(points)
    members = np.asarray(memberships(regions, particles), np.float64)
    equal = np.full(num, 1 / num)
    components = with_tails(refit(units.components(regions), data, equal, members, SMALLEST))
    history: list[Round] = []
    best, kept, stopped, num_grad = 0, None, "rounds", num
    for round_ in range(MAX_ROUNDS):
        if progress is not None:
            progress("fitting a mixture", round_, MAX_ROUNDS)
        mixture = components.mixture
        proposal = mixture_proposal(mixture, data=data, center=units.center, factor=units.factor)
        rng_key, key_resample, *keys = jax.random.split(rng_key, BATCHES + 2)
        batches = [weigh(logdensity_fn, proposal, key, num_particles) for key in keys]
        num_grad += num_particles * len(batches)
        x, of_proposal, of_mixture = map(jnp.concatenate, zip(*batches, strict=True))
        log_weights = np.asarray(of_proposal, np.float64)
        found = quality(log_weights, np.asarray(of_mixture), 1 - proposal.weight)
        has_weight = found.ess_fraction > 0
        weights = truncated(log_weights) if has_weight else np.full(len(x), 1 / len(x))
        history.append(Round(found, shares(regions, x, weights)))
        gain = found.acceptance_rate - (history[best].quality.acceptance_rate if kept else 0.0)
        if kept is None or gain > 0:
            best, kept = round_, (proposal, key_resample, x, weights)
        if not has_weight or (round_ > 0 and gain < LEAST_GAIN):
            stopped = "no gain"
            break
        u = units.whiten(np.asarray(x, np.float64))
        members = np.asarray(memberships(mixture, jnp.asarray(u, x.dtype)), np.float64)
        components = refit(components, u, weights, members, PER_DIMENSION * dim + SMALLEST)
    assert kept is not None
    proposal, key_resample, x, weights = kept
    starts = jnp.asarray(modes.starts)
    log_evidence = jnp.asarray(history[best].quality.log_evidence, x.dtype)
    known = logdensity_fn, proposal, log_evidence
    off = map(np.asarray, (is_off(*known, particles), is_off(*known, starts)))
    masses = map(np.asarray, log_masses(logdensity_fn, regions, log_evidence, starts))
    is_covered = covers(*off, *masses)
    if history[best].quality.ess_fraction > ENOUGH:
        # by weight alone: a chain that starts in a mode of no weight may stay there
        chosen = resampling.systematic(key_resample, jnp.asarray(weights, x.dtype), num_particles)
        particles = x[chosen]
    return Learned(proposal, particles, tuple(history), best, stopped, num_grad, is_covered)
