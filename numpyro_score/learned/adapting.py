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

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.learned.arrived import evaluate
from numpyro_score.learned.components import Components, refit, split, with_tails
from numpyro_score.learned.coverage import covers, evidence_error, log_masses, log_ratios
from numpyro_score.learned.em import fit_components
from numpyro_score.learned.explore_regions import Found
from numpyro_score.learned.importance import Quality, quality
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import SMALLEST, shares
from numpyro_score.learned.resampling import truncated
from numpyro_score.learned.rounds import ENOUGH, GOOD, LEAST_GAIN, Learned, Round
from numpyro_score.learned.units import units_of
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import LearnedProposal, mixture_proposal
from numpyro_score.types import RngKey

SUFFICIENT = 0.4
"""Acceptance of the mixture's jumps from which no network is trained. A jump of the mixture costs
one evaluation, so that rare jumps can be made up for by more of them, and training could at best
double the acceptance."""

MAX_ROUNDS = 12
"""Rounds at most: two are enough where modes are near Gaussian; splits take more."""

BATCHES = 4
"""Draws of a round, in units of the number of particles: they need no gradient."""

PER_DIMENSION = 2
"""A component keeps its mean and covariance if it has fewer effective draws than this number for
each dimension and `SMALLEST` more."""

PER_HALF = 4
"""Components are split only if they have on average this multiple of that number."""


@eqx.filter_jit
def _weighted_draws(
    logdensity_fn: FlatLogDensity, proposal: LearnedProposal, rng_key: RngKey, num: int
) -> tuple[Float[Array, "num dim"], Float[Array, " num"]]:
    """Draws and their log weights.

    Draws of the heavy-tailed part are among them, since they cost no more than others: they keep
    the weights bounded where the target's tails are heavier than those of the mixture.
    """
    x, log_q = jax.vmap(proposal.sample_and_log_prob)(jax.random.split(rng_key, num))
    log_weights = jax.vmap(logdensity_fn)(x) - log_q
    return x, jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)


class _Drawn(NamedTuple):
    """Draws of one round's mixture, their weights, and the share of every region."""

    proposal: LearnedProposal
    x: Float[Array, "num dim"]
    weights: Float[np.ndarray, " num"]
    quality: Quality
    shares: Float[np.ndarray, " regions"]


def _first(regions: Components, data: Float[np.ndarray, "num dim"]) -> Components:
    equal = np.full(len(data), 1 / len(data))
    return with_tails(refit(regions, data, equal, regions.share_out(data)[1], SMALLEST))


def _draw(
    logdensity_fn: FlatLogDensity,
    proposal: LearnedProposal,
    regions: GaussianMixture,
    rng_key: RngKey,
    num: int,
) -> _Drawn:
    keys = jax.random.split(rng_key, BATCHES)
    batches = [_weighted_draws(logdensity_fn, proposal, key, num) for key in keys]
    x, weighed = map(jnp.concatenate, zip(*batches, strict=True))
    log_weights = np.asarray(weighed, np.float64)
    found = quality(log_weights)
    weights = truncated(log_weights) if found.ess_fraction > 0 else np.full(len(x), 1 / len(x))
    return _Drawn(proposal, x, weights, found, shares(regions, x, weights))


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
    points = np.asarray(particles, np.float64)
    logdensity, gradients = (np.asarray(a) for a in evaluate(logdensity_fn, particles))
    units = units_of(regions, points, gradients.astype(float))
    data = units.whiten(points)
    components = _first(units.components(regions), data)
    fewest = PER_DIMENSION * points.shape[1] + SMALLEST
    drawn: list[_Drawn] = []
    best, stopped, has_split = 0, "rounds", False
    for round_ in range(MAX_ROUNDS):
        if progress is not None:
            progress("fitting a mixture", round_, MAX_ROUNDS)
        proposal = mixture_proposal(
            components.mixture, data=data, center=units.center, factor=units.factor
        )
        key = jax.random.fold_in(rng_key, round_)
        drawn.append(_draw(logdensity_fn, proposal, regions, key, num_particles))
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
    kept = drawn[best]
    found = kept.quality
    of_particles = log_ratios(kept.proposal, found.log_evidence, particles, logdensity)
    of_starts = log_ratios(kept.proposal, found.log_evidence, modes.starts, modes.logdensity)
    masses = log_masses(regions, found.log_evidence, modes.starts, modes.logdensity)
    error = evidence_error(found.log_evidence_error, len(kept.x), of_particles)
    history = [Round(one.quality, one.shares) for one in drawn]
    history[best] = history[best]._replace(quality=found._replace(log_evidence_error=error))
    if found.ess_fraction > ENOUGH:
        # by weight alone: a chain that starts in a mode of no weight may stay there
        weights = jnp.asarray(kept.weights, kept.x.dtype)
        key = jax.random.fold_in(rng_key, MAX_ROUNDS)
        particles = kept.x[resampling.systematic(key, weights, num_particles)]
    return Learned(
        kept.proposal,
        particles,
        tuple(history),
        best,
        stopped,
        len(points) + BATCHES * num_particles * len(drawn),
        covers(of_particles, of_starts, *masses),
    )
