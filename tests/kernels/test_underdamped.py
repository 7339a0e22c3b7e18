"""The OBABO chain against its own stationary distribution, known in closed form on a Gaussian."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.kernels import underdamped

NUM_CHAINS, NUM_STEPS, SIGMAS = 20_000, 12, 4.5
STEP_SIZE, TEMPERATURE = 0.3, 1.7
COVARIANCE = np.array([[2.0, 0.6], [0.6, 1.0]])
PRECISION = np.linalg.inv(COVARIANCE)
P = np.array([[1.5, 0.2], [0.2, 0.8]])
ROOT = np.linalg.cholesky(P)


def logdensity(x: Any) -> Any:
    return -0.5 * x @ jnp.asarray(PRECISION, x.dtype) @ x


def stationary() -> Any:
    """Covariance of the position: `T A^-1 (I - eps / 2 A)^-1` in whitened coordinates."""
    curvature = ROOT.T @ PRECISION @ ROOT
    whitened = np.linalg.inv(curvature @ (np.eye(2) - STEP_SIZE / 2 * curvature))
    return TEMPERATURE * ROOT @ whitened @ ROOT.T


def largest_z(run_chains: Any, friction: float, **options: Any) -> float:
    """The worst moment of chains from exact draws of the stationary distribution, after steps."""
    options = {"logdensity_fn": logdensity, **options}
    algorithm = ns.underdamped_langevin(
        step_size=STEP_SIZE,
        inverse_mass_matrix=P,
        friction=friction,
        temperature=TEMPERATURE,
        **options,
    )
    rng = np.random.default_rng(0)
    start = rng.normal(size=(NUM_CHAINS, 2)) @ np.linalg.cholesky(stationary()).T
    velocity = np.sqrt(TEMPERATURE) * rng.normal(size=(NUM_CHAINS, 2))
    both = jnp.asarray(np.stack([start, velocity], axis=1), jnp.float32)
    moving = algorithm._replace(init=lambda z: algorithm.init(z[0])._replace(velocity=z[1]))
    final = run_chains(moving, 1, both, NUM_STEPS).final
    draws = np.hstack([final.position, final.velocity]).astype(float)
    exact = np.zeros((4, 4))
    exact[:2, :2], exact[2:, 2:] = stationary(), TEMPERATURE * np.eye(2)
    variance = np.diag(exact)
    error = np.sqrt((np.outer(variance, variance) + exact**2) / NUM_CHAINS)
    second = np.abs(draws.T @ draws / NUM_CHAINS - exact) / error
    first = np.abs(draws.mean(axis=0)) / np.sqrt(variance / NUM_CHAINS)
    return float(max(second.max(), first.max()))


@pytest.mark.parametrize("friction", [0.2, 5.0])
def test_its_own_stationary_distribution_is_left_alone(friction: float, run_chains: Any) -> None:
    assert largest_z(run_chains, friction) < SIGMAS


def test_a_score_alone_is_enough(run_chains: Any) -> None:
    score = {"logdensity_fn": None, "score_fn": lambda x: -jnp.asarray(PRECISION, x.dtype) @ x}
    assert largest_z(run_chains, 0.7, **score) < SIGMAS


def test_a_wrong_scale_of_the_noise_is_found(run_chains: Any, monkeypatch: Any) -> None:
    right = underdamped._relax

    def wrong(rng_key: Any, velocity: Any, decay: Any, temperature: Any) -> Any:
        return right(rng_key, velocity, decay, temperature * (1 + decay) / 2)

    monkeypatch.setattr(underdamped, "_relax", wrong)
    assert largest_z(run_chains, 5.0) > SIGMAS


def test_much_friction_makes_it_ula() -> None:
    """One step from rest: the same mean, and the same noise, as the friction grows."""
    x, keys = jnp.array([1.0, -2.0]), jax.random.split(jax.random.key(0), 40_000)
    ends = []
    for algorithm in (
        ns.ula(logdensity, 0.1),
        ns.underdamped_langevin(logdensity, 0.1, friction=1e4),
    ):
        state = algorithm.init(x)
        ends.append(np.asarray(jax.vmap(lambda key: algorithm.step(key, state)[0].position)(keys)))  # noqa: B023
    assert (np.abs(ends[0].mean(axis=0) - ends[1].mean(axis=0)) < 4.5 * np.sqrt(0.4 / 40_000)).all()
    assert (np.abs(ends[0].std(axis=0) / ends[1].std(axis=0) - 1) < 4.5 / np.sqrt(40_000)).all()


def test_without_noise_it_descends_to_the_mode() -> None:
    algorithm = ns.underdamped_langevin(score_fn=lambda x: 3.0 - x, step_size=0.1, temperature=0.0)

    def step(state: Any, key: Any) -> Any:
        return algorithm.step(key, state)[0], None

    keys = jax.random.split(jax.random.key(0), 200)
    last, _ = jax.lax.scan(step, algorithm.init(jnp.zeros(2)), keys)
    np.testing.assert_allclose(last.position, 3.0, atol=1e-3)


def test_a_wall_turns_it_back_and_is_counted() -> None:
    def walled(x: Any) -> Any:
        return jnp.where(x > 1, jnp.nan, -0.5 * x**2)

    algorithm = ns.underdamped_langevin(walled, step_size=0.5)
    state = algorithm.init(jnp.array(0.9))._replace(velocity=jnp.array([5.0]))
    state, info = algorithm.step(jax.random.key(0), state)
    assert bool(info.is_divergent)
    assert float(state.position) == pytest.approx(0.9)
    assert float(state.velocity[0]) < 0


def test_no_friction_is_refused() -> None:
    for friction in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="friction"):
            ns.underdamped_langevin(logdensity, 0.1, friction=friction)
        with pytest.raises(ValueError, match="friction"):
            ns.UnderdampedLangevin(logdensity_fn=logdensity, friction=friction)
