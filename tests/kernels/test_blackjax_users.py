"""BlackJAX's own algorithms drive our kernels with no code of theirs or ours."""

from typing import Any

import blackjax
import blackjax.smc.resampling as resampling
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.targets import two_modes

SCALES = np.array([0.1, 1.0, 10.0])


def scaled_gaussian(x: Any) -> Any:
    return -0.5 * jnp.sum((x / jnp.asarray(SCALES)) ** 2)


@pytest.mark.parametrize("is_diagonal", [True, False])
def test_window_adaptation_finds_scales_and_step(is_diagonal: bool, run_chains: Any) -> None:
    warmup = blackjax.window_adaptation(
        ns.mala,
        scaled_gaussian,
        is_mass_matrix_diagonal=is_diagonal,
        target_acceptance_rate=0.574,
    )
    (_, parameters), _ = warmup.run(jax.random.key(0), jnp.ones(3), 1_500)
    matrix = np.asarray(parameters["inverse_mass_matrix"])
    assert matrix.shape == ((3,) if is_diagonal else (3, 3))
    variances = matrix if is_diagonal else np.diag(matrix)
    # up to the spread of a variance from a few hundred correlated draws
    assert np.abs(np.log(variances / SCALES**2)).max() < 0.7

    algorithm = ns.mala(scaled_gaussian, **parameters)
    n = 4_000
    start = SCALES * np.random.default_rng(0).normal(size=(n, 3))
    run = run_chains(algorithm, 1, jnp.asarray(start, jnp.float32), 10)
    assert abs(float(run.info.acceptance_rate.mean()) - 0.574) < 0.2  # tuned in its last 50 steps
    draws = np.asarray(run.final.position) / SCALES
    assert np.abs(draws.mean(axis=0)).max() < 4.5 / np.sqrt(n)
    assert np.abs((draws**2).mean(axis=0) - 1).max() < 4.5 * np.sqrt(2 / n)


def test_adaptive_tempered_smc_weighs_two_modes() -> None:
    target = two_modes()
    n = 4_000
    smc = blackjax.adaptive_tempered_smc(
        lambda x: -0.5 * jnp.sum((x / 8.0) ** 2),
        lambda x: target.logdensity_fn(x) + 0.5 * jnp.sum((x / 8.0) ** 2),
        ns.mala.build_kernel(),
        ns.mala.init,
        {"step_size": jnp.full(1, 0.5)},
        resampling.systematic,
        target_ess=0.7,
        num_mcmc_steps=5,
    )
    state = smc.init(8.0 * jax.random.normal(jax.random.key(0), (n, 2)))
    step = jax.jit(smc.step)
    for key in jax.random.split(jax.random.key(1), 60):
        state, _ = step(key, state)
        if state.tempering_param >= 1:
            break
    assert float(state.tempering_param) == 1.0
    x, weights = np.asarray(state.particles), np.asarray(state.weights)
    for expectation in target.expectations:
        mean = np.tensordot(weights, np.asarray(expectation.fn({"x": x})), 1)
        # each of some 7 levels adds its own variance, to that of n independent draws
        se = expectation.sd / np.sqrt(n / 7)
        assert (np.abs(mean - expectation.truth) < 4.5 * se).all(), expectation.name
