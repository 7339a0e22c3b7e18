"""Generalised HMC: exact in any preconditioner, with planted errors, and BlackJAX's own chain."""

from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc.ghmc import GHMCState

import numpyro_score as ns
from numpyro_score.kernels import generalized

NUM_CHAINS, NUM_STEPS, SIGMAS = 20_000, 8, 4.5
COVARIANCE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
PRECISION = np.linalg.inv(COVARIANCE)
DENSE = np.array([[1.5, 0.5, 0.2], [0.5, 2.0, 0.0], [0.2, 0.0, 0.7]])


def logdensity(x: Any) -> Any:
    return -0.5 * x @ jnp.asarray(PRECISION, x.dtype) @ x


def largest_z(run_chains: Any, **options: Any) -> tuple[float, Any]:
    """The worst first or second moment of chains from exact draws, and their run."""
    algorithm = ns.ghmc(logdensity, **{"step_size": 1.0, "friction": 0.5, **options})
    rng = np.random.default_rng(0)
    start = rng.normal(size=(NUM_CHAINS, 3)) @ np.linalg.cholesky(COVARIANCE).T
    run = run_chains(algorithm, 1, jnp.asarray(start, jnp.float32), NUM_STEPS)
    x = np.asarray(run.final.position, float)
    variance = np.diag(COVARIANCE)
    error = np.sqrt((np.outer(variance, variance) + COVARIANCE**2) / NUM_CHAINS)
    second = np.abs(x.T @ x / NUM_CHAINS - COVARIANCE) / error
    first = np.abs(x.mean(axis=0)) / np.sqrt(variance / NUM_CHAINS)
    return float(max(second.max(), first.max())), run


@pytest.mark.parametrize(
    "matrix", [pytest.param(None, marks=pytest.mark.slow), DENSE], ids=["none", "dense"]
)
def test_exact_draws_stay_exact(matrix: Any, run_chains: Any) -> None:
    worst, run = largest_z(run_chains, inverse_mass_matrix=matrix)
    assert worst < SIGMAS
    assert 0.5 < float(run.info.acceptance_rate.mean()) < 0.98  # so that a wrong ratio shows
    # velocity and slice variable keep their distributions with it
    velocity = np.asarray(run.final.velocity, float)
    spread = velocity.T @ velocity / NUM_CHAINS - np.eye(3)
    assert np.abs(spread).max() < SIGMAS * np.sqrt(2 / NUM_CHAINS)
    level = np.asarray(run.final.slice, float)
    assert abs(level.mean()) < SIGMAS / np.sqrt(3 * NUM_CHAINS)
    assert abs((level**2).mean() - 1 / 3) < SIGMAS * np.sqrt(4 / 45 / NUM_CHAINS)


def test_a_ratio_without_the_kinetic_energy_is_found(run_chains: Any, monkeypatch: Any) -> None:
    right = generalized.kinetic_energy
    monkeypatch.setattr(generalized, "kinetic_energy", lambda v, position: 0.7 * right(v, position))
    assert largest_z(run_chains, inverse_mass_matrix=DENSE)[0] > SIGMAS


@pytest.mark.slow
def test_a_velocity_of_another_spread_is_found(run_chains: Any, monkeypatch: Any) -> None:
    from blackjax.mcmc import ghmc

    right = ghmc.update_momentum
    monkeypatch.setattr(ghmc, "update_momentum", lambda *args: 1.1 * right(*args))
    assert largest_z(run_chains, inverse_mass_matrix=DENSE)[0] > SIGMAS


def test_without_a_preconditioner_the_chain_is_blackjax_s_own() -> None:
    position = jnp.array([0.5, -1.0, 2.0])
    state = (
        ns.ghmc(logdensity, 0.9)
        .init(position)
        ._replace(step=jnp.array(1), velocity=jnp.array([0.3, 1.0, -0.5]), slice=jnp.array(0.9))
    )
    theirs = GHMCState(
        position, state.velocity, state.logdensity, state.logdensity_grad, state.slice
    )
    step = blackjax.ghmc(logdensity, 0.9, 1.0, 1 - np.exp(-1.8 * 0.5), 0.3).step
    ours = ns.ghmc(logdensity, 0.9, friction=0.5, slice_drift=0.3).step
    accepted = []
    for key in jax.random.split(jax.random.key(0), 8):
        state, info = ours(key, state)
        theirs, their_info = step(key, theirs)
        accepted.append(bool(info.is_accepted))
        assert accepted[-1] == bool(their_info.is_accepted)
        np.testing.assert_allclose(state.position, theirs.position, rtol=1e-4)
        np.testing.assert_allclose(state.velocity, theirs.momentum, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.slice, theirs.slice, rtol=1e-4, atol=1e-5)
    assert len(set(accepted)) == 2


@pytest.mark.parametrize("bad", [jnp.nan, pytest.param(jnp.inf, marks=pytest.mark.slow), -jnp.inf])
def test_a_wall_is_not_crossed_and_no_chain_stops_at_it(bad: float, run_chains: Any) -> None:
    """Of a refused move of infinite energy BlackJAX makes the slice variable NaN, for good."""

    def walled(x: Any) -> Any:
        return jnp.where(x[0] > 1, bad, -0.5 * jnp.sum(x**2))

    run = run_chains(ns.ghmc(walled, 1.0), 0, jnp.zeros((200, 2)), 20)
    assert float(run.positions[..., 0].max()) <= 1
    assert bool(run.info.is_divergent.any()) == (bad != -jnp.inf)
    assert not (run.info.is_divergent & run.info.is_accepted).any()
    assert jnp.isfinite(run.final.slice).all()
    refused = ~np.asarray(run.info.is_accepted[0])
    assert refused.sum() > 10
    assert np.asarray(run.info.is_accepted)[1:, refused].mean() > 0.3


def test_what_cannot_be_used_is_refused() -> None:
    for name in ("friction", "slice_drift"):
        with pytest.raises(ValueError, match=name):
            ns.ghmc(logdensity, 0.5, **{name: 0.0})
        with pytest.raises(ValueError, match=name):
            ns.GHMC(logdensity_fn=logdensity, **{name: -1.0})  # type: ignore[arg-type]


def test_a_level_of_zero_accepts_no_point_without_a_density() -> None:
    """The logarithm of 0 is that of the density outside of the support."""

    def logdensity(x: Any) -> Any:
        return jnp.where(x[0] > 0, -x[0], -jnp.inf)

    kernel = ns.ghmc(logdensity, 0.5, friction=1e-3, slice_drift=0.25)
    inside = jnp.full(1, 0.01)
    # the level drifts from -.25 to 0, and the velocity leads outside
    state = kernel.init(inside)._replace(
        step=jnp.array(1), velocity=jnp.full(1, -3.0), slice=jnp.array(-0.25)
    )
    after, info = kernel.step(jax.random.key(0), state)
    assert not info.is_accepted
    np.testing.assert_array_equal(after.position, inside)
    assert jnp.isfinite(after.slice) & jnp.isfinite(after.logdensity)
