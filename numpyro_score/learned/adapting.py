"""A mixture of Gaussians over the regions, adapted by importance sampling: nothing to train.

Draws of the mixture, weighted by target over proposal, give its components new weights, means and
covariances, every draw shared out among components by their density there (population Monte Carlo
for mixtures, Cappe, Douc, Guillin, Marin and Robert 2008, doi:10.1007/s11222-008-9059-x).
Covariances are shrunken to the one that modes have in common. Where modes are near Gaussian this is
a better proposal than a network learns, in a tenth of the time. Where they are not, its weights
tell; where it lacks a mode, the points that found the mode do.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.learned.arrived import evaluate
from numpyro_score.learned.components import Components, memberships, refit, with_tails
from numpyro_score.learned.covariance import shrunken_gaussian
from numpyro_score.learned.coverage import covers, evidence_error, log_masses, log_ratios
from numpyro_score.learned.explore_regions import Found
from numpyro_score.learned.importance import quality
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import SMALLEST, assign, scale_within_modes, shares
from numpyro_score.learned.resampling import truncated
from numpyro_score.learned.rounds import ENOUGH, LEAST_GAIN, Learned, Round
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
def _weighted_draws(
    logdensity_fn: FlatLogDensity, proposal: LearnedProposal, rng_key: RngKey, num: int
) -> tuple[Float[Array, "num dim"], Float[Array, " num"]]:
    """Draws and their log weights.

    Those of the heavy-tailed part are among them, since they cost no more than others: where the
    target's tails are heavier than those of the mixture, they hold its weights bounded.
    """
    x, log_q = jax.vmap(proposal.sample_and_log_prob)(jax.random.split(rng_key, num))
    log_weights = jax.vmap(logdensity_fn)(x) - log_q
    return x, jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)


def suffices(learned: Learned, acceptance: float) -> bool:
    """Whether a proposal covers what was found, its jumps are accepted, and no tail is heavy."""
    found = learned.quality
    return learned.covers and found.acceptance_rate > acceptance and not found.has_heavy_tail


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
        batches = [_weighted_draws(logdensity_fn, proposal, key, num_particles) for key in keys]
        num_grad += num_particles * len(batches)
        x, weighed = map(jnp.concatenate, zip(*batches, strict=True))
        log_weights = np.asarray(weighed, np.float64)
        found = quality(log_weights)
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
    found, starts = history[best].quality, jnp.asarray(modes.starts)
    log_evidence = jnp.asarray(found.log_evidence, x.dtype)
    ratios, of_starts = (
        np.asarray(log_ratios(logdensity_fn, proposal, log_evidence, points), np.float64)
        for points in (particles, starts)
    )
    masses = map(np.asarray, log_masses(logdensity_fn, regions, log_evidence, starts))
    is_covered = covers(ratios, of_starts, *masses)
    error = evidence_error(found.log_evidence_error, len(x), ratios)
    history[best] = history[best]._replace(quality=found._replace(log_evidence_error=error))
    if found.ess_fraction > ENOUGH:
        # by weight alone: a chain that starts in a mode of no weight may stay there
        chosen = resampling.systematic(key_resample, jnp.asarray(weights, x.dtype), num_particles)
        particles = x[chosen]
    return Learned(proposal, particles, tuple(history), best, stopped, num_grad, is_covered)
