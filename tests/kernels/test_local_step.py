"""A step size for every move: exact on a funnel, neck included; planted errors show."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.infer import MALA, MAMS
from numpyro_score.kernels import local_step

NUM_CHAINS, NUM_STEPS, SIGMAS = 20_000, 20, 4.5
DENSE = np.array([[1.5, 0.5, 0.2], [0.5, 2.0, 0.0], [0.2, 0.0, 0.7]])

KERNELS: dict[str, Callable[[Any], Any]] = {
    "local_mala": lambda matrix: ns.local_mala(funnel, 0.5, matrix),
    "local_mams": lambda matrix: ns.local_mams(funnel, 1.0, matrix, 2.0),
}


def funnel(u: Any) -> Any:
    """`s ~ N(0, 1)`, and two coordinates of standard deviation `exp(s)`."""
    return -0.5 * u[0] ** 2 - 0.5 * jnp.sum(u[1:] ** 2) * jnp.exp(-2 * u[0]) - 2 * u[0]


def z_scores(run_chains: Any, name: str, matrix: Any) -> tuple[Any, Any]:
    """Errors of moments of chains from exact draws, in standard errors, and their run."""
    normal = np.random.default_rng(0).normal(size=(NUM_CHAINS, 3))
    start = np.column_stack([normal[:, 0], np.exp(normal[:, :1]) * normal[:, 1:]])
    run = run_chains(KERNELS[name](matrix), 1, jnp.asarray(start, jnp.float32), NUM_STEPS)
    x = np.asarray(run.final.position, float)
    w = np.column_stack([x[:, 0], x[:, 1:] * np.exp(-x[:, :1])])  # three independent N(0, 1)
    root = np.sqrt(NUM_CHAINS)
    return np.concatenate(
        [
            w.mean(axis=0) * root,
            (w**2).mean(axis=0) * root / np.sqrt(2) - root / np.sqrt(2),
            (w[:, 0] @ (w[:, 1:] ** 2 - 1)) / root / np.sqrt(2),
        ],
        axis=None,
    ), run


@pytest.mark.parametrize("name", KERNELS)
def test_exact_draws_of_a_funnel_stay_exact(name: str, run_chains: Any) -> None:
    z, run = z_scores(run_chains, name, DENSE)
    assert np.abs(z).max() < SIGMAS
    assert float(run.info.acceptance_rate.mean()) > 0.5
    # the step size follows the place: the scale at the end of a move is exp(s)
    steps, place = np.log(run.info.step_size[1:]), run.positions[:-1, :, 0]
    assert np.corrcoef(np.ravel(steps), np.ravel(place))[0, 1] > 0.3
    # s is drawn anew in the neck too
    neck = np.asarray(run.positions[0, :, 0]) < -2
    moved = np.diff(run.positions[:, neck, 0], axis=0) != 0
    assert moved.mean() > 0.4


def test_a_move_whose_way_back_is_not_checked_is_found(run_chains: Any, monkeypatch: Any) -> None:
    right = local_step.there_and_back

    def wrong(*args: Any) -> Any:
        there, is_reversible, num_trials = right(*args)
        return there, jnp.ones_like(is_reversible), num_trials

    monkeypatch.setattr(local_step, "there_and_back", wrong)
    z, _ = z_scores(run_chains, "local_mala", None)
    assert np.abs(z).max() > SIGMAS


def test_moves_are_counted_there_and_back(run_chains: Any) -> None:
    calls = []

    def counting(x: Any) -> Any:
        jax.debug.callback(lambda: calls.append(1))
        return -0.5 * jnp.sum(x**2) / 0.01

    for algorithm, per_step in (
        (ns.local_mala(counting, 0.5), 1),
        (ns.local_mams(counting, 0.5, mean_num_steps=3.0), 2),
    ):
        state = algorithm.init(jnp.ones(3))
        jax.effects_barrier()
        calls.clear()
        _, info = jax.jit(algorithm.step)(jax.random.key(0), state)
        jax.effects_barrier()
        assert len(calls) == per_step * int(info.num_integration_steps) > 4


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_wall_is_not_crossed(bad: float, run_chains: Any) -> None:
    def walled(x: Any) -> Any:
        return jnp.where(x[0] > 1, bad, -0.5 * jnp.sum(x**2))

    run = run_chains(ns.local_mala(walled, 1.0), 0, jnp.zeros((200, 2)), 20)
    assert float(run.positions[..., 0].max()) <= 1
    assert not (run.info.is_divergent & run.info.is_accepted).any()
    assert run.info.is_accepted.mean() > 0.3


def test_flat_densities_end_the_search(run_chains: Any) -> None:
    """No step is too long there: the search ends at its limit, and the move is refused."""
    run = run_chains(ns.local_mala(lambda x: 0.0 * x[0], 1.0), 0, jnp.zeros((4, 2)), 3)
    assert not run.info.is_accepted.any()
    assert (run.info.num_integration_steps == 2 * (local_step.MAX_TRIALS + 1)).all()


def test_a_temperature_cannot_be_combined_with_it() -> None:
    with pytest.raises(ValueError, match=r"local_step_size=True with temperature=2\.0"):
        MALA(logdensity_fn=funnel, temperature=2.0, local_step_size=True)


def test_no_acceptance_is_aimed_at() -> None:
    """Warmup tunes the first step size; the moves accept what they find."""
    for kernel in (MALA, MAMS):
        assert kernel(logdensity_fn=funnel, local_step_size=True).target_accept_prob is None
        assert kernel(logdensity_fn=funnel).target_accept_prob is not None
