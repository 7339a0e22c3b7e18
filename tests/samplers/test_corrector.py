"""Corrector steps: the formula, the distribution they keep, what they repair, what they cost."""

import warnings
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP
from numpyro_score.samplers import (
    adaptive,
    ancestral,
    corrected,
    dpm_solver_sde,
    euler_maruyama,
    heun,
    probability_flow,
    reverse_diffusion,
    reverse_sde,
)

PREDICTORS: dict[str, Any] = {
    "reverse_diffusion": (reverse_diffusion, 500, 2, 1),
    "two steps": (dpm_solver_sde, 60, 2, 1),
    "without noise": (heun, 40, 3, 0),
}
NUM = 10_000


@pytest.mark.parametrize("num_corrections", [1, 3])
@pytest.mark.parametrize("predictor", [ancestral, heun], ids=lambda p: p.__name__)
def test_a_step_is_the_formula(
    predictor: Any, num_corrections: int, mixture: Any, x64: None
) -> None:
    noise, times = mixture.noise, jnp.array([0.9, 0.7, 0.5])
    steps = corrected(noise, times, predictor=predictor, num_corrections=num_corrections, snr=0.3)
    row = jax.tree.map(lambda a: a[0], steps)
    x = jnp.array([1.0, -2.0])
    z = jax.random.normal(jax.random.key(0), (steps.num_noises, 2))
    ours, _ = row.advance(mixture, x, None, z if steps.num_noises > 1 else z[0])
    plain = jax.tree.map(lambda a: a[0], predictor(noise, times))
    expected, _ = plain.advance(mixture, x, None, z[0] if plain.is_random else None)
    eps = 2 * 0.3**2 * noise.variance(0.7)
    for noise_of_step in z[plain.num_noises :]:
        drift = eps * mixture(expected, 0.7)
        expected = expected + drift + jnp.sqrt(2 * eps) * noise_of_step
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_the_ratio_of_signal_to_noise_is_the_one_set(mixture: Any, x64: None) -> None:
    """At the noisy end, where noise outweighs the data; below it everywhere else."""
    noise = mixture.noise
    clean = mixture.sample(jax.random.key(0), 4000)
    for time, least in ((1.0, 0.95), (0.3, 0.0)):
        x = jax.vmap(lambda key, x, t=time: noise.perturb(key, x, t)[0])(
            jax.random.split(jax.random.key(1), len(clean)), clean
        )
        scores = jax.vmap(mixture, (0, None))(x, time)
        eps = float(corrected(noise, jnp.array([1.0, time - 1e-9]), snr=0.16).step_size[0])
        signal = eps * np.sqrt(float(jnp.mean(jnp.sum(scores**2, axis=1))))
        ratio = signal / np.sqrt(2 * eps * 2)
        assert least * 0.16 < ratio < 1.05 * 0.16


@pytest.mark.parametrize("name", PREDICTORS)
def test_draws_have_the_distribution_of_the_data(
    name: str, mixture: Any, exact_draws: Any, largest_z: Any
) -> None:
    predictor, num_steps, calls, noises = PREDICTORS[name]
    method = partial(corrected, predictor=predictor, snr=0.05)
    sampler = reverse_sde(mixture, mixture.noise, (2,), num_steps=num_steps, method=method)
    assert sampler.evaluations == num_steps * calls
    assert sampler.steps.num_noises == noises + 1
    assert largest_z(sampler.sample(jax.random.key(1), NUM), exact_draws) < 4.5
    wrong = eqx.tree_at(lambda s: s.steps.step_size, sampler, replace_fn=lambda e: -e)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they do not agree with their score
        draws = wrong.sample(jax.random.key(1), NUM)
    assert not largest_z(draws, exact_draws) < 8


def test_it_repairs_a_coarse_predictor(mixture: Any, exact_draws: Any) -> None:
    """Few steps of Euler and Maruyama leave the spread wrong; corrections take most of it away."""
    arguments: dict[str, Any] = {"num_steps": 25, "denoise": True}

    def excess(method: Any) -> float:
        draws = reverse_sde(mixture, mixture.noise, (2,), method=method, **arguments).sample(
            jax.random.key(0), NUM
        )
        return float(abs(draws.var(axis=0) / exact_draws.var(axis=0) - 1).max())

    repaired = excess(partial(corrected, predictor=euler_maruyama, num_corrections=8, snr=0.3))
    assert repaired < 0.6 * excess(euler_maruyama)


def test_an_adaptive_predictor_is_counted(mixture: Any) -> None:
    method = partial(corrected, predictor=adaptive, num_corrections=2)
    flow = probability_flow(mixture, mixture.noise, (2,), num_steps=4, method=method, denoise=True)
    assert flow.evaluations is None
    assert flow.encoder is None
    _, count = eqx.filter_jit(flow.draw)(jax.random.key(0))
    assert int(count) > 4 * 2 + 20


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"snr": 0.0}, ValueError, "snr is 0"),
        ({"num_corrections": 0}, ValueError, "num_corrections is 0"),
        ({"predictor": "euler"}, TypeError, "predictor is 'euler'"),
    ],
)
def test_bad_input_is_refused(options: Any, error: Any, message: str, unchecked: None) -> None:
    with pytest.raises(error, match=message):
        reverse_sde(lambda x, t: -x, VP(), (2,), method=partial(corrected, **options))


def test_noise_at_the_end_is_not_needed_to_correct() -> None:
    """With `denoise` the last row only denoises."""
    noise = VE(sigma_min=0.1, sigma_max=10.0)
    steps = corrected(noise, jnp.array([1.0, 0.5, 0.1])).then_denoise(noise)
    assert len(steps.time) == 3
    assert float(steps.step_size[-1]) == 0.0
