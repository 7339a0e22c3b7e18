"""Learning a proposal: a score of the particles, its flow as a proposal, and better particles.

The loop explore, train, draw, weigh, train on the weighted draws is that of adaptive Monte Carlo
with a learned proposal (Gabrie, Rotskoff and Vanden-Eijnden 2022, doi:10.1073/pnas.2109420119;
Midgley et al. 2023, arXiv:2208.01893), with a score in place of a normalizing flow. It only ever
changes the proposal, and ends before the first step that is reported.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc import resampling
from jaxtyping import Array, Float

from numpyro_score.kernels.tempered_smc import TemperedParticles, move_particles
from numpyro_score.learned.importance import Quality, quality
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.noise import VE
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training.fit import fit
from numpyro_score.training.losses import ContinuousDenoising
from numpyro_score.training.optimizer import cosine_adam
from numpyro_score.types import RngKey

NOISE = VE(sigma_min=0.02, sigma_max=5.0)
"""In units of the particles' sd: at its end the distribution is nearly a known Gaussian."""

# one object each, so that every training finds the same compiled program
LOSS = ContinuousDenoising(NOISE)
OPTIMIZER = cosine_adam(5e-3)

FINEST = 0.1
"""The finest structure that is expected, in the same units; finer ones cost acceptance."""

FIRST_STEPS = 2500
"""Steps of the first training."""

LATER_STEPS = 2000
"""Steps of each training after it, which begins where the last one ended."""

MOVES = 6
"""MALA steps that move the copies of a resampled draw apart."""

GOOD = 0.8
"""Acceptance at which another round would gain less than it costs."""

LEAST_GAIN = 0.01
"""Rise of the acceptance below which no further round is made."""


type MakeProposal = Callable[..., LearnedProposal]
"""`(score, noise, dim, *, center, factor, data)` -> proposal, as `flow_proposal` is."""


class Learned(NamedTuple):
    """A proposal and how good it is.

    Attributes
    ----------
    proposal
        The frozen proposal distribution.
    particles
        `(num, dim)` approximate draws of the target, for chains to start from.
    quality
        Of the proposal that was kept, estimated from its own draws.
    rounds
        Acceptance after each round of training.
    num_grad
        Evaluations of the target that training took, with a gradient or without.
    """

    proposal: LearnedProposal
    particles: Float[Array, "num dim"]
    quality: Quality
    rounds: tuple[float, ...]
    num_grad: int


def default_network(dim: int, rng_key: RngKey) -> ResidualMLP:
    """Three blocks of 64 units for up to 20 dimensions, of 128 beyond."""
    return ResidualMLP(dim, width=64 if dim <= 20 else 128, depth=3, rng_key=rng_key)


def mean_and_factor(particles: Float[np.ndarray, "num dim"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and Cholesky factor of the covariance, of particles."""
    center = particles.mean(axis=0, dtype=np.float64)
    covariance = np.atleast_2d(np.cov(particles.astype(np.float64), rowvar=False))
    variance = np.diagonal(covariance)
    if not (np.isfinite(covariance).all() and (variance > 0).all()):
        stuck = np.flatnonzero(~(variance > 0)).tolist()
        raise ValueError(
            f"exploration ended with particles that do not differ in coordinates {stuck}; give "
            "reference=, a distribution about as wide as the target, or a larger num_particles="
        )
    # keeps nearly dependent coordinates independent at the resolution of single precision
    covariance += np.diag(1e-6 * variance)
    return center, np.linalg.cholesky(covariance)


@eqx.filter_jit
def _weigh(
    logdensity_fn: FlatLogDensity, proposal: LearnedProposal, rng_key: RngKey, num: int
) -> tuple[Float[Array, "num dim"], Float[Array, " num"], Float[Array, " num"]]:
    """Draws of the flow, their log weights for the proposal, and for the flow alone.

    The heavy-tailed part is left out: its draws would have to be flowed back.
    """
    flow = replace(proposal, weight=0.0)
    drafts = jax.vmap(flow.draft)(jax.random.split(rng_key, num))
    x = jax.vmap(flow.unwhiten)(drafts.u)
    logdensity = jax.vmap(logdensity_fn)(x)

    def log_weights(part: LearnedProposal) -> Array:
        value = logdensity - jax.vmap(part.mix)(drafts.u, drafts.log_learned)
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    return x, log_weights(proposal), log_weights(flow)


def _resample(rng_key: RngKey, log_weights: np.ndarray, num: int) -> np.ndarray:
    """Indices of draws by weight, the weights limited so that one draw gives few copies."""
    # as in truncated importance sampling (Ionides 2008, doi:10.1198/106186008X320456)
    weights = np.exp(log_weights - log_weights.max())
    weights = np.minimum(weights, weights.mean() * np.sqrt(len(weights)))
    weights = jnp.asarray(weights / weights.sum())
    return np.asarray(resampling.systematic(rng_key, weights, num))


@eqx.filter_jit
def _new_model(network: Callable[[int, RngKey], Any], dim: int, rng_key: RngKey) -> Any:
    """An untrained score; compiled as one, which takes less time than its parts."""
    # many small draws: a generator that is one instruction compiles in a tenth of the time
    data = jnp.resize(jax.random.key_data(rng_key).reshape(-1), (4,))
    rng_key = jax.random.wrap_key_data(data, impl="unsafe_rbg")
    return ScoreNetwork(network(dim, rng_key), NOISE, finest=FINEST)


def _rename(progress: ProgressCallback, name: str, phase: str, done: int, total: int) -> None:
    """Report the progress of a training under the name of its round."""
    progress(name, done, total)


def train_proposal(
    logdensity_fn: FlatLogDensity,
    explored: TemperedParticles,
    rng_key: RngKey,
    *,
    network: Callable[[int, RngKey], Any],
    make_proposal: MakeProposal,
    rounds: int,
    progress: bool | ProgressCallback,
) -> Learned:
    """Train on the particles, then on the proposal's own weighted draws while that helps.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    explored
        Particles of the target.
    rng_key
        One key.
    network
        `(dim, rng_key) -> network`, for `ScoreNetwork`.
    make_proposal
        `flow_proposal`, `path_proposal`, or a function with their arguments.
    rounds
        Trainings at most, at least 1.
    progress
        Whether to show progress bars of the trainings, or a function to call in their place.
    """
    num, dim = explored.particles.shape
    dtype = explored.particles.dtype
    center, factor = mean_and_factor(np.asarray(explored.particles))
    particles = explored.particles
    key_network, rng_key = jax.random.split(rng_key)
    model: Any = _new_model(network, dim, key_network)
    best: tuple[Quality, LearnedProposal, Array] | None = None
    accepted: list[float] = []
    num_grad = 0
    for round_ in range(rounds):
        rng_key, key_fit, key_draw, key_resample, key_move = jax.random.split(rng_key, 5)
        name = f"training {round_ + 1}" + (f" of up to {rounds}" if rounds > 1 else "")
        standard = np.linalg.solve(factor, (np.asarray(particles) - center).T).T
        model = fit(
            model,
            np.asarray(standard, dtype),
            LOSS,
            rng_key=key_fit,
            num_steps=FIRST_STEPS if round_ == 0 else LATER_STEPS,
            optimizer=OPTIMIZER,
            validation_fraction=0.0,
            progress=progress if isinstance(progress, bool) else partial(_rename, progress, name),
        ).model
        proposal = make_proposal(
            model, NOISE, dim, center=center, factor=factor, data=np.asarray(standard, dtype)
        )
        x, log_weights, of_flow = _weigh(logdensity_fn, proposal, key_draw, num)
        num_grad += num
        found = quality(np.asarray(log_weights), np.asarray(of_flow), 1 - proposal.weight)
        accepted.append(found.acceptance_rate)
        gain = found.acceptance_rate - (best[0].acceptance_rate if best else 0.0)
        if gain <= 0:
            break
        best = (found, proposal, particles)
        if found.acceptance_rate > GOOD or gain < LEAST_GAIN or round_ + 1 == rounds:
            break
        chosen = _resample(key_resample, np.asarray(log_weights), num)
        step = explored.step_size
        particles, _, _ = move_particles(
            logdensity_fn, key_move, x[chosen], step, explored.variance, MOVES
        )
        num_grad += num * (MOVES + 1)
    if best is None:
        # nothing is ever accepted: the chains fall back on their local moves, with a warning
        best = (found, proposal, explored.particles)
    return Learned(best[1], best[2], best[0], tuple(accepted), num_grad)
