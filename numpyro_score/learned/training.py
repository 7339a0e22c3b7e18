"""Learning a proposal: a score of the particles, its flow as a proposal, and better particles.

The score is regressed on the gradients that particles come with, mixed with denoising
(`TargetScoreMatching`), so that the loss tells how far the training is. The loop explore, train,
draw, weigh, train on the weighted draws is that of adaptive Monte Carlo with a learned proposal
(Gabrie, Rotskoff and Vanden-Eijnden 2022, doi:10.1073/pnas.2109420119; Midgley et al. 2023,
arXiv:2208.01893), with a score in place of a normalizing flow. It only ever changes the proposal,
and ends before the first step that is reported.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.kernels.tempered_smc import move_particles
from numpyro_score.learned.arrived import evaluate
from numpyro_score.learned.explore_regions import Explored
from numpyro_score.learned.importance import quality
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.learned.regions import shares
from numpyro_score.learned.resampling import resample
from numpyro_score.learned.rounds import ENOUGH, GOOD, LEAST_GAIN, Learned, Round, weigh
from numpyro_score.learned.whitening import mean_and_factor
from numpyro_score.noise import VE
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import LearnedProposal, flow_proposal, path_proposal
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training.fit import fit
from numpyro_score.training.losses import TargetScoreMatching, within_mode_covariance
from numpyro_score.training.optimizer import cosine_adam
from numpyro_score.types import RngKey

NOISE = VE(sigma_min=0.02, sigma_max=5.0)
"""In units of the particles' sd: at its end the distribution is nearly a known Gaussian."""

# one object, so that every training finds the same compiled program
OPTIMIZER = cosine_adam(5e-3)

FINEST = 0.1
"""The finest structure that is expected, in the same units; finer ones cost acceptance."""

PERIOD = 1000
"""Steps of one period of the learning rate, in the first round, and twice as many in each further
one: what a first training does not suffice for needs more steps, at rates that fall more slowly.
A training has two periods, or more."""

MAX_PERIODS = 8
"""Periods of a training, at most."""

LEAST_FALL = 0.1
"""Relative fall of the loss from one period to the next below which a training ends."""

MOVES = 6
"""MALA steps that move the copies of a resampled draw apart."""

type MakeProposal = Callable[..., LearnedProposal]
"""`(score, noise, dim, *, center, factor, data)` -> proposal, as `flow_proposal` is."""


FLOW_DIMS = 32
"""Dimensions up to which the flow is the default: an exact divergence takes as many products."""


def default_proposal(dim: int) -> MakeProposal:
    """The flow for up to 32 dimensions, the path beyond."""
    return flow_proposal if dim <= FLOW_DIMS else path_proposal


def default_network(dim: int, rng_key: RngKey) -> ResidualMLP:
    """Three blocks of 64 units for up to 20 dimensions, of 128 beyond."""
    return ResidualMLP(dim, width=64 if dim <= 20 else 128, depth=3, rng_key=rng_key)


def _train(
    model: Any, data: Any, loss: TargetScoreMatching, rng_key: RngKey, num_steps: int, progress: Any
) -> tuple[Any, int, float]:
    """Periods of training while the loss falls: the model, the steps, and the loss at the end."""
    before = np.inf
    for period in range(MAX_PERIODS):
        model, history = fit(
            model,
            data,
            loss,
            rng_key=jax.random.fold_in(rng_key, period),
            num_steps=num_steps,
            optimizer=OPTIMIZER,
            validation_fraction=0.0,
            progress=progress,
        )
        after = float(history.train_loss[-10:].mean())
        if not after < (1 - LEAST_FALL) * before and period > 0:
            break
        before = after
    return model, (period + 1) * num_steps, after


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
    regions: GaussianMixture,
    explored: Explored,
    rng_key: RngKey,
    *,
    network: Callable[[int, RngKey], Any],
    make_proposal: MakeProposal,
    rounds: int,
    progress: bool | ProgressCallback,
) -> Learned:
    """Train on the particles, then on the proposal's own weighted draws while that helps.

    Rounds end when jumps are accepted (above .8) and the weights of the regions agree with those
    of the exploration, when neither acceptance nor weights change, or after `rounds`.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    regions
        The mixture over the regions.
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
    known, history = shares(regions, particles), []
    best, kept, num_grad, stopped = -1, None, 0, "rounds"
    for round_ in range(rounds):
        rng_key, key_fit, key_draw, key_resample, key_move = jax.random.split(rng_key, 5)
        name = f"training {round_ + 1}" + (f" of up to {rounds}" if rounds > 1 else "")
        _, gradients = evaluate(logdensity_fn, particles)
        num_grad += num
        standard = np.linalg.solve(factor, (np.asarray(particles) - center).T).T
        whitened = np.asarray(gradients, np.float64) @ factor
        loss = TargetScoreMatching(within_mode_covariance(standard, whitened), noise=NOISE)
        standard = np.asarray(standard, dtype)
        model, num_steps, end = _train(
            model,
            (standard, np.asarray(whitened, dtype)),
            loss,
            key_fit,
            PERIOD * 2**round_,
            progress if isinstance(progress, bool) else partial(_rename, progress, name),
        )
        proposal = make_proposal(model, NOISE, dim, center=center, factor=factor, data=standard)
        x, of_proposal, of_flow = weigh(logdensity_fn, proposal, key_draw, num)
        num_grad += num
        log_weights = np.asarray(of_proposal, np.float64)
        found = quality(log_weights, np.asarray(of_flow), 1 - proposal.weight)
        weights = np.exp(log_weights - log_weights.max()) if found.ess_fraction > 0 else None
        new = known if weights is None else shares(regions, x, weights)
        history.append(Round(found, new, num_steps, end))
        gain = found.acceptance_rate - (history[best].quality.acceptance_rate if kept else 0.0)
        change, known = float(np.abs(new - known).max()), new
        if gain > 0 or kept is None:
            best, kept = round_, (proposal, particles)
        if found.acceptance_rate > GOOD:
            stopped = "accepted"
            break
        # a first training that nothing is accepted of has not gone on for long enough
        if round_ > 0 and gain < LEAST_GAIN and change < LEAST_GAIN:
            stopped = "no gain"
            break
        if round_ + 1 < rounds and found.ess_fraction > ENOUGH:
            chosen = resample(key_resample, regions, x, log_weights, particles)
            step = explored.step_size
            particles, _, _ = move_particles(
                logdensity_fn, key_move, chosen, step, explored.variance, MOVES
            )
            num_grad += num * (MOVES + 1)
    assert kept is not None
    return Learned(kept[0], kept[1], tuple(history), best, stopped, num_grad)
