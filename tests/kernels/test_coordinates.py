"""Algorithms of BlackJAX in whitened coordinates: the same chain, mapped, and exact."""

from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc.metrics import LowRankInverseMassMatrix

import numpyro_score as ns
from numpyro_score.kernels import whitened

MATRIX = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
MEAN = np.array([1.0, -2.0, 0.5])
DIRECTION = np.array([[2.0], [1.0], [2.0]]) / 3
LOW_RANK = LowRankInverseMassMatrix(
    jnp.array([1.0, 2.0, 0.5]), jnp.asarray(DIRECTION, jnp.float32), jnp.array([9.0])
)


def as_matrix(metric: Any) -> Any:
    if isinstance(metric, LowRankInverseMassMatrix):
        middle = np.eye(3) + 8.0 * DIRECTION @ DIRECTION.T
        return np.outer(LOW_RANK.sigma, LOW_RANK.sigma) * middle
    return np.diag(metric) if np.ndim(metric) == 1 else metric


def gaussian(covariance: Any) -> Any:
    precision = jnp.asarray(np.linalg.inv(covariance), jnp.float32)

    def logdensity(position: Any) -> Any:
        x = jnp.concatenate([position["a"], position["b"][None]]) - jnp.asarray(MEAN, jnp.float32)
        return -0.5 * x @ precision @ x

    return logdensity


METRICS = {"diagonal": np.array([2.0, 1.0, 0.5]), "dense": MATRIX, "low rank": LOW_RANK}


@pytest.mark.parametrize("metric", METRICS)
def test_exact_draws_stay_exact_and_a_gaussian_is_white(metric: str, run_chains: Any) -> None:
    """HMC with half a turn is an independent draw where the target is white."""
    covariance = as_matrix(METRICS[metric])
    start = np.random.default_rng(0).multivariate_normal(MEAN, covariance, 4_000)
    positions = {
        "a": jnp.asarray(start[:, :2], jnp.float32),
        "b": jnp.asarray(start[:, 2], jnp.float32),
    }
    algorithm = whitened(blackjax.hmc, METRICS[metric], {"a": jnp.ones(2), "b": jnp.ones(())})(
        gaussian(covariance), step_size=0.314, num_integration_steps=5
    )
    run = run_chains(algorithm, 1, positions, 1)
    x = np.column_stack([run.final.position["a"], run.final.position["b"]])
    factor = np.linalg.cholesky(covariance)
    y = np.linalg.solve(factor, (x - MEAN).T).T
    before = np.linalg.solve(factor, (start - MEAN).T).T
    assert np.abs(y.mean(axis=0)).max() < 4.5 / np.sqrt(4_000)
    assert np.abs(y.T @ y / 4_000 - np.eye(3)).max() < 4.5 * np.sqrt(2 / 4_000)
    assert np.abs(y.T @ before / 4_000).max() < 4.5 / np.sqrt(4_000)


def test_a_wrong_map_is_not_white(run_chains: Any) -> None:
    start = jnp.zeros((2_000, 3))
    precision = jnp.asarray(np.linalg.inv(MATRIX), jnp.float32)
    algorithm = whitened(blackjax.hmc, np.linalg.inv(MATRIX))(
        lambda x: -0.5 * x @ precision @ x, step_size=0.1, num_integration_steps=16
    )
    x = np.asarray(run_chains(algorithm, 1, start, 1).final.position)
    assert np.abs(x.T @ x / 2_000 - MATRIX).max() > 0.3


def test_a_step_is_that_of_the_algorithm_s_own_preconditioner() -> None:
    def logdensity(x: Any) -> Any:
        return -jnp.sum(jnp.logaddexp(x, -x))

    x, key = jnp.array([0.5, -1.0, 2.0]), jax.random.key(3)
    matrix = jnp.asarray(MATRIX, jnp.float32)
    ours = ns.mala(logdensity, 0.3, matrix)
    wrapped = whitened(ns.mala, matrix)(logdensity, 0.3)
    one, _ = ours.step(key, ours.init(x))
    two, _ = wrapped.step(key, wrapped.init(x))
    np.testing.assert_allclose(one.position, two.position, rtol=1e-4)
    np.testing.assert_allclose(one.logdensity, two.logdensity, rtol=1e-4)


@pytest.mark.parametrize(
    ("algorithm", "parameters"),
    [
        (blackjax.mclmc, {"L": 1.0, "step_size": 0.3}),
        (blackjax.ghmc, {"step_size": 0.5, "alpha": 0.5, "delta": 0.2}),
        pytest.param(blackjax.nuts, {"step_size": 0.5}, marks=pytest.mark.slow),
    ],
)
def test_algorithms_that_need_a_key_or_a_metric_run(algorithm: Any, parameters: Any) -> None:
    wrapped = whitened(algorithm, LOW_RANK)(lambda x: -0.5 * jnp.sum(x**2), **parameters)
    state = wrapped.init(jnp.ones(3), jax.random.key(0))
    new, _ = jax.jit(wrapped.step)(jax.random.key(1), state)
    assert new.position.shape == (3,)
    assert (new.position != state.position).any()


def test_what_cannot_be_used_is_refused() -> None:
    def logdensity(x: Any) -> Any:
        return -jnp.sum(x**2)

    with pytest.raises(ValueError, match="3 coordinates"):
        whitened(ns.mala, jnp.ones(2))(logdensity, 0.1).init(jnp.ones(3))
    with pytest.raises(ValueError, match="center has 2"):
        whitened(ns.mala, jnp.ones(3), jnp.ones(2))(logdensity, 0.1).init(jnp.ones(3))
    with pytest.raises(ValueError, match="positive definite"):
        whitened(ns.mala, -np.eye(2))
    with pytest.raises(TypeError, match="give the algorithm itself"):
        whitened(ns.mala(logdensity, 0.1), None)  # type: ignore[arg-type]
