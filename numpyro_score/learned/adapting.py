"""A mixture of Gaussians over the regions, adapted by importance sampling: nothing to train.

Draws of the mixture, weighted by target over proposal, give its components new weights, means and
covariances, every draw shared out among components by their density there (population Monte Carlo
for mixtures, Cappe, Douc, Guillin, Marin and Robert 2008, doi:10.1007/s11222-008-9059-x).
Covariances are shrunken. Where modes are near Gaussian this is a better proposal than a network
learns, in a tenth of the time; where they are not, its weights tell.
"""

import math
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture, gaussian_mixture
from numpyro_score.learned.covariance import shrunken_gaussian
from numpyro_score.learned.explore_regions import evaluate
from numpyro_score.learned.importance import LARGEST_K, quality
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import SMALLEST, scale_within_modes, shares
from numpyro_score.learned.resampling import truncated
from numpyro_score.learned.rounds import ENOUGH, LEAST_GAIN, Learned, Round, weigh
from numpyro_score.learned.whitening import mean_and_factor
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

SPREAD = 0.02
"""Share of the mixture that is spread over all components, so that none is lost."""

PER_DIMENSION = 2
"""Effective draws of a component for each dimension, below which it stays as it was."""


HEAVY = 1000.0
"""Density of the target over that of the mixture from which a point counts as not covered."""

MOST_UNCOVERED = 0.01
"""Share of the particles that may be at such points: a mixture that lacks modes has draws whose
weights do not tell, as of 256 double wells, of which it has 64."""


def covers(learned: Learned) -> bool:
    """Whether the proposal goes wherever there are particles."""
    return learned.uncovered <= MOST_UNCOVERED


def suffices(learned: Learned, acceptance: float) -> bool:
    """Whether a mixture covers the particles, its jumps are accepted, and no tail is heavy."""
    found = learned.quality
    return covers(learned) and found.acceptance_rate > acceptance and found.pareto_k <= LARGEST_K


@eqx.filter_jit
def _log_prob(proposal: LearnedProposal, x: Float[Array, "num dim"]) -> Float[Array, " num"]:
    """Log density of a mixture's proposal, which uses no key."""
    return jax.vmap(partial(proposal.log_prob, jax.random.key(0)))(x)


@eqx.filter_jit
def memberships(
    mixture: GaussianMixture, x: Float[Array, "num dim"]
) -> Float[Array, "num component"]:
    """Share of every component in the density at each point."""
    return jax.vmap(lambda x: jax.nn.softmax(mixture.component_log_probs(x)))(x)


WIDER = 3.0
"""Excess variance of the wider copy of a component in one dimension; less in more dimensions."""

TAIL = 0.1
"""Its weight before it is adapted."""


class Components(NamedTuple):
    """A mixture of Gaussians on the host, in the coordinates of the target.

    Attributes
    ----------
    weights, means, factors
        `(num,)`, of sum 1, `(num, dim)` and lower triangular `(num, dim, dim)`.
    """

    weights: Float[np.ndarray, " component"]
    means: Float[np.ndarray, "component dim"]
    factors: Float[np.ndarray, "component dim dim"]


def refit(
    mixture: Components,
    x: Float[np.ndarray, "num dim"],
    weights: Float[np.ndarray, " num"],
    members: Float[np.ndarray, "num component"],
    scale: Float[np.ndarray, " dim"],
    fewest: int,
) -> Components:
    """The mixture that weighted points call for; a component of few points keeps its shape.

    Parameters
    ----------
    mixture
        What they were drawn from, or assigned by.
    x, weights
        Points, and their weights, of sum 1.
    members
        Shares of the components in each point.
    scale
        Rough sds within a mode, in which covariances are shrunken.
    fewest
        Effective points that change a component.
    """
    means, factors = mixture.means.copy(), mixture.factors.copy()
    masses = weights @ members
    for k, mass in enumerate(masses):
        own = weights * members[:, k] / max(mass, 1e-300)
        if mass > 0 and 1 / np.sum(own**2) >= fewest:
            means[k], factors[k] = shrunken_gaussian(x, own, scale)
    masses = (1 - SPREAD) * masses / masses.sum() + SPREAD / len(masses)
    return Components(masses, means, factors)


def with_tails(mixture: Components) -> Components:
    """Every component twice, once wider: what its mode has in excess of a Gaussian."""
    dim = mixture.means.shape[1]
    wider = math.sqrt(1 + WIDER / math.sqrt(dim)) * mixture.factors
    weights = np.concatenate([(1 - TAIL) * mixture.weights, TAIL * mixture.weights])
    means = np.concatenate([mixture.means] * 2)
    return Components(weights, means, np.concatenate([mixture.factors, wider]))


class Units(NamedTuple):
    """Whitened coordinates `u`, `x = center + factor u`."""

    center: Float[np.ndarray, " dim"]
    factor: Float[np.ndarray, "dim dim"]

    def whiten(self, x: Float[np.ndarray, "num dim"]) -> Float[np.ndarray, "num dim"]:
        """Coordinates `u` of points."""
        return np.linalg.solve(self.factor, (x - self.center).T).T

    def mixture(self, found: Components) -> GaussianMixture:
        """The mixture of `u`."""
        factors = np.linalg.solve(self.factor, found.factors)
        return gaussian_mixture(found.weights, self.whiten(found.means), factors)


def adapt_mixture(
    logdensity_fn: FlatLogDensity,
    regions: GaussianMixture,
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
    regions
        The mixture over the regions.
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

    num, dim = particles.shape
    points = np.asarray(particles, np.float64)
    logdensity, gradients = evaluate(logdensity_fn, particles)
    scale = scale_within_modes(points, np.asarray(gradients, np.float64))
    units = Units(*mean_and_factor(points))
    data = units.whiten(points)
    arrays = (np.asarray(a, np.float64) for a in (regions.log_weights, regions.means))
    log_weights, means = arrays
    mixture = Components(np.exp(log_weights), means, np.asarray(regions.factors, np.float64))
    members = np.asarray(memberships(regions, particles), np.float64)
    mixture = with_tails(refit(mixture, points, np.full(num, 1 / num), members, scale, SMALLEST))
    history: list[Round] = []
    best, kept, stopped, num_grad = 0, None, "rounds", num
    for round_ in range(MAX_ROUNDS):
        if progress is not None:
            progress("fitting a mixture", round_, MAX_ROUNDS)
        whitened = units.mixture(mixture)
        proposal = mixture_proposal(whitened, data=data, center=units.center, factor=units.factor)
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
            best, kept = round_, (proposal, key_resample, x, log_weights)
        if not has_weight or (round_ > 0 and gain < LEAST_GAIN):
            stopped = "no gain"
            break
        drawn = np.asarray(x, np.float64)
        u = jnp.asarray(units.whiten(drawn), x.dtype)
        members = np.asarray(memberships(whitened, u), np.float64)
        mixture = refit(mixture, drawn, weights, members, scale, PER_DIMENSION * dim + SMALLEST)
    assert kept is not None
    proposal, key_resample, x, log_weights = kept
    away = np.asarray(logdensity - _log_prob(proposal, particles), np.float64)
    uncovered = float(np.mean(away > history[best].quality.log_evidence + math.log(HEAVY)))
    if history[best].quality.ess_fraction > ENOUGH:
        # by weight alone: a chain that starts in a mode of no weight may stay there
        weights = jnp.asarray(truncated(log_weights), x.dtype)
        particles = x[resampling.systematic(key_resample, weights, num_particles)]
    return Learned(proposal, particles, tuple(history), best, stopped, num_grad, uncovered)
