"""The microcanonical kernel: exact in any preconditioner, with planted errors, and its lengths."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc import integrators

import numpyro_score as ns
from numpyro_score.kernels import microcanonical

NUM_CHAINS, NUM_STEPS, SIGMAS = 20_000, 8, 4.5
COVARIANCE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
PRECISION = np.linalg.inv(COVARIANCE)
DENSE = np.array([[1.5, 0.5, 0.2], [0.5, 2.0, 0.0], [0.2, 0.0, 0.7]])


def logdensity(x: Any) -> Any:
    return -0.5 * x @ jnp.asarray(PRECISION, x.dtype) @ x


def largest_z(run_chains: Any, **options: Any) -> tuple[float, Any]:
    """The worst first or second moment of chains from exact draws, and their run."""
    algorithm = ns.mams(logdensity, **{"step_size": 1.2, "mean_num_steps": 2.0, **options})
    rng = np.random.default_rng(0)
    start = rng.normal(size=(NUM_CHAINS, 3)) @ np.linalg.cholesky(COVARIANCE).T
    run = run_chains(algorithm, 1, jnp.asarray(start, jnp.float32), NUM_STEPS)
    x = np.asarray(run.final.position, float)
    variance = np.diag(COVARIANCE)
    error = np.sqrt((np.outer(variance, variance) + COVARIANCE**2) / NUM_CHAINS)
    second = np.abs(x.T @ x / NUM_CHAINS - COVARIANCE) / error
    first = np.abs(x.mean(axis=0)) / np.sqrt(variance / NUM_CHAINS)
    return float(max(second.max(), first.max())), run


@pytest.mark.parametrize("matrix", [None, np.diag(DENSE), DENSE], ids=["none", "diagonal", "dense"])
def test_exact_draws_stay_exact(matrix: Any, run_chains: Any) -> None:
    worst, run = largest_z(run_chains, inverse_mass_matrix=matrix)
    assert worst < SIGMAS
    acceptance = float(run.info.acceptance_rate.mean())
    assert 0.5 < acceptance < 0.98  # so that a wrong ratio shows
    jumps = np.mean(np.diff(run.positions, axis=0) ** 2, axis=(0, 1))
    assert (jumps > 0.3 * np.diag(COVARIANCE)).all()


def test_a_ratio_without_the_kinetic_energy_is_found(run_chains: Any, monkeypatch: Any) -> None:
    right = microcanonical.integrator

    def wrong(*args: Any) -> Any:
        step = right(*args)

        def one(state: Any, step_size: Any) -> Any:
            new, change = step(state, step_size)
            return new, 0.7 * change

        return one

    monkeypatch.setattr(microcanonical, "integrator", wrong)
    assert largest_z(run_chains, inverse_mass_matrix=DENSE)[0] > SIGMAS


def test_other_gradients_are_repaired_and_cost_acceptance(
    run_chains: Any, monkeypatch: Any
) -> None:
    """The ratio counts how directions are squeezed, whatever turns them, as any drift in MALA."""
    rates = []
    for replace in (False, True):
        if replace:
            monkeypatch.setattr(microcanonical, "scale_transpose", lambda _, vector: 3 * vector)
        worst, run = largest_z(run_chains, inverse_mass_matrix=DENSE)
        assert worst < SIGMAS
        rates.append(float(run.info.acceptance_rate.mean()))
    assert rates[1] < rates[0] - 0.1


def test_a_full_matrix_is_a_change_of_coordinates(run_chains: Any) -> None:
    """With `P = L L^T` the chain is `L` times that of BlackJAX's own integrator in `L^-1 x`."""
    root = np.linalg.cholesky(DENSE)

    def whitened(u: Any) -> Any:
        return logdensity(jnp.asarray(root, u.dtype) @ u)

    start = np.random.default_rng(1).normal(size=(50, 3))
    runs = []
    for algorithm, x in (
        (ns.mams(logdensity, 0.9, DENSE, 3.0), start @ root.T),
        (ns.mams(whitened, 0.9, None, 3.0), start),
    ):
        runs.append(run_chains(algorithm, 2, jnp.asarray(x, jnp.float32), 5))
    np.testing.assert_allclose(runs[0].positions, np.asarray(runs[1].positions) @ root.T, atol=2e-4)


def test_without_a_preconditioner_a_step_is_blackjax_s_own() -> None:
    x = jnp.array([0.5, -1.0, 2.0])
    direction = x / jnp.linalg.norm(x)
    state = integrators.new_integrator_state(logdensity, x, direction)
    ours = microcanonical.integrator(None, logdensity)(state, 0.7)
    theirs = integrators.isokinetic_mclachlan(logdensity)(state, 0.7)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("mean", [1.0, 1.5, 4.0, 16.0])
def test_lengths_have_their_mean_and_are_shared(mean: float) -> None:
    steps = jnp.arange(1024)
    lengths = np.asarray(jax.vmap(lambda i: microcanonical.num_steps_at(i, mean))(steps))
    assert lengths.min() == 1
    assert lengths.max() <= 2 * mean
    np.testing.assert_allclose(lengths.mean(), mean, rtol=0.02)


def test_gradients_are_counted(run_chains: Any) -> None:
    """Two a step of the integrator, of a density that counts its evaluations."""
    calls = []

    def counting(x: Any) -> Any:
        jax.debug.callback(lambda: calls.append(1))
        return logdensity(x)

    algorithm = ns.mams(counting, 0.5, mean_num_steps=3.0)
    state = algorithm.init(jnp.zeros(3))
    jax.effects_barrier()
    calls.clear()
    _, info = algorithm.step(jax.random.key(0), state)
    jax.effects_barrier()
    assert len(calls) == 2 * int(info.num_integration_steps)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_wall_of_no_number_is_not_crossed_and_counted(bad: float, run_chains: Any) -> None:
    def walled(x: Any) -> Any:
        return jnp.where(x[0] > 1, bad, -0.5 * jnp.sum(x**2))

    run = run_chains(ns.mams(walled, 1.5), 0, jnp.zeros((200, 2)), 20)
    assert float(run.positions[..., 0].max()) <= 1
    assert run.info.is_divergent.any()
    assert not (run.info.is_divergent & run.info.is_accepted).any()


def test_outside_of_the_support_is_a_rejection_alone(run_chains: Any) -> None:
    def half(x: Any) -> Any:
        return jnp.where(x[0] > 1, -jnp.inf, -0.5 * jnp.sum(x**2))

    run = run_chains(ns.mams(half, 1.5, mean_num_steps=1.0), 0, jnp.zeros((200, 2)), 20)
    assert float(run.positions[..., 0].max()) <= 1
    assert not run.info.is_divergent.any()


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has 1 coordinate.*use MALA"):
        ns.mams(lambda x: -(x @ x), 0.5).init(jnp.zeros(1))
    for number in (0.5, 0.0, float("nan")):
        with pytest.raises(ValueError, match="mean_num_steps"):
            ns.mams(logdensity, 0.5, mean_num_steps=number)
        with pytest.raises(ValueError, match="mean_num_steps"):
            ns.MAMS(logdensity_fn=logdensity, mean_num_steps=number)
