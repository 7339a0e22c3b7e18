"""Weighted draws of a proposal whose density is known, and what they say of it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.compilation import compiled_loop
from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.learned.coverage import covers, evidence_error, log_masses, log_ratios
from numpyro_score.learned.explore_regions import Found
from numpyro_score.learned.importance import Quality, quality
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import shares
from numpyro_score.learned.resampling import truncated
from numpyro_score.learned.rounds import ENOUGH, Learned, Round
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.types import RngKey

BATCHES = 4
"""Draws of a round, in units of the number of particles: they need no gradient."""


@compiled_loop(eqx.filter_jit)
def _weighted_draws(
    logdensity_fn: FlatLogDensity, proposal: LearnedProposal, rng_key: RngKey, num: int
) -> tuple[Float[Array, "num dim"], Float[Array, " num"]]:
    """Draws and their log weights.

    Those of the heavy-tailed part are among them, since they cost no more than others: where the
    target's tails are heavier than those of the learned part, they hold its weights bounded.
    """
    x, log_q = jax.vmap(proposal.sample_and_log_prob)(jax.random.split(rng_key, num))
    log_weights = jax.vmap(logdensity_fn)(x) - log_q
    return x, jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)


class Drawn(NamedTuple):
    """Draws of one round's proposal, their weights, and the share of every region."""

    proposal: LearnedProposal
    x: Float[Array, "num dim"]
    weights: Float[np.ndarray, " num"]
    quality: Quality
    shares: Float[np.ndarray, " regions"]


def draw(
    logdensity_fn: FlatLogDensity,
    proposal: LearnedProposal,
    regions: GaussianMixture,
    rng_key: RngKey,
    num: int,
) -> Drawn:
    """Four times `num` draws, weighted.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    proposal
        Whose density needs no auxiliary variables.
    regions
        The mixture over the regions.
    rng_key
        One key.
    num
        A quarter of the number of draws.
    """
    keys = jax.random.split(rng_key, BATCHES)
    batches = [_weighted_draws(logdensity_fn, proposal, key, num) for key in keys]
    x, weighed = map(jnp.concatenate, zip(*batches, strict=True))
    log_weights = np.asarray(weighed, np.float64)
    found = quality(log_weights)
    weights = truncated(log_weights) if found.ess_fraction > 0 else np.full(len(x), 1 / len(x))
    return Drawn(proposal, x, weights, found, shares(regions, x, weights))


def as_learned(
    drawn: list[Drawn],
    best: int,
    stopped: str,
    modes: Found,
    particles: Float[Array, "old dim"],
    logdensity: Float[np.ndarray, " old"],
    rng_key: RngKey,
    num_particles: int,
) -> Learned:
    """The best round's proposal, its draws as particles, and whether it covers what was found.

    Parameters
    ----------
    drawn
        Every round.
    best, stopped
        Index of the round to keep, and why rounds ended.
    modes
        The points that found the regions, which the proposal has to cover.
    particles, logdensity
        What the first round was fitted to, each with one gradient.
    rng_key
        One key.
    num_particles
        Particles to return.
    """
    # takes long to import
    from blackjax.smc import resampling

    kept = drawn[best]
    found = kept.quality
    of_particles = log_ratios(kept.proposal, found.log_evidence, particles, logdensity)
    of_starts = log_ratios(kept.proposal, found.log_evidence, modes.starts, modes.logdensity)
    masses = log_masses(modes.regions.mixture, found.log_evidence, modes.starts, modes.logdensity)
    error = evidence_error(found.log_evidence_error, len(kept.x), of_particles)
    history = [Round(one.quality, one.shares) for one in drawn]
    history[best] = history[best]._replace(quality=found._replace(log_evidence_error=error))
    num_grad = len(particles) + BATCHES * num_particles * len(drawn)
    if found.ess_fraction > ENOUGH:
        # by weight alone: a chain that starts in a mode of no weight may stay there
        choose = jax.jit(resampling.systematic, static_argnums=2)
        weights = np.asarray(kept.weights, kept.x.dtype)
        particles = kept.x[choose(rng_key, weights, num_particles)]
    return Learned(
        kept.proposal,
        particles,
        tuple(history),
        best,
        stopped,
        num_grad,
        covers(of_particles, of_starts, *masses),
    )


def suffices(learned: Learned, acceptance: float) -> bool:
    """Whether a proposal covers what was found, its jumps are accepted, and no tail is heavy."""
    found = learned.quality
    return learned.covers and found.acceptance_rate > acceptance and not found.has_heavy_tail
