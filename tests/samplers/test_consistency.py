"""Draws of a consistency model: one step and several, for a function in closed form."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.noise import VE, VP
from numpyro_score.samplers import consistency, uniform_times
from numpyro_score.scores import ConsistencyModel, FunctionScore, PredictNoise, gaussian_score
from numpyro_score.training.io import load, save

MEAN, SD, NUM = 3.0, 0.5, 20_000


def closed_form(noise: Any) -> Any:
    """That of N(MEAN, SD^2) data, to time .001."""

    def function(x: Any, t: Any) -> Any:
        start, end = (
            (noise.alpha(s), jnp.sqrt((noise.alpha(s) * SD) ** 2 + noise.variance(s)))
            for s in (t, 1e-3)
        )
        return end[0] * MEAN + (x - start[0] * MEAN) * end[1] / start[1]

    return function


@pytest.mark.filterwarnings("ignore:draws keep noise")  # whose moments are the point
@pytest.mark.parametrize("num_steps", [1, 2, 4])
@pytest.mark.parametrize("noise", [VE(sigma_min=0.3, sigma_max=20.0), VP()])
def test_draws_have_the_moments_of_the_end(noise: Any, num_steps: int) -> None:
    """In every number of steps; the noise at the end is not negligible for VE."""
    options: Any = {"num_steps": num_steps, "data_mean": MEAN, "data_sd": SD}
    sampler = consistency(closed_form(noise), noise, (3,), **options)
    assert sampler.evaluations == num_steps
    x = sampler.sample(jax.random.key(0), NUM)
    alpha, variance = float(noise.alpha(1e-3)), float(noise.variance(1e-3))
    sd = (alpha**2 * SD**2 + variance) ** 0.5
    assert (abs(x.mean(axis=0) - alpha * MEAN) < 4.5 * sd / NUM**0.5).all()
    assert (abs(x.std(axis=0) / sd - 1) < 4.5 / (2 * NUM) ** 0.5).all()


@pytest.mark.filterwarnings("ignore:draws keep noise")
def test_too_little_noise_between_steps_is_found() -> None:
    """The test above fails for steps that add none."""
    noise = VE(sigma_min=0.3, sigma_max=20.0)
    sampler = consistency(closed_form(noise), noise, (3,), num_steps=4, data_sd=SD, data_mean=MEAN)
    key = jax.random.key(0)
    x = jax.vmap(sampler.start)(jax.random.split(key, 2000))
    for t in sampler.times[:-1]:
        x = jax.vmap(closed_form(noise), (0, None))(x, t)
    assert abs(float(x.std()) / (SD**2 + 0.09) ** 0.5 - 1) > 0.1


def test_paths_end_at_the_draws() -> None:
    noise = VE(sigma_min=0.01, sigma_max=20.0)
    sampler = consistency(closed_form(noise), noise, (2,), num_steps=3, grid=uniform_times)
    path, draws = sampler.trajectory(jax.random.key(0), 5), sampler.sample(jax.random.key(0), 5)
    assert path.positions.shape == (5, 4, 2)
    np.testing.assert_allclose(path.positions[:, -1], draws, rtol=1e-5)
    np.testing.assert_allclose(path.times, [1.0, 0.667, 0.334, 0.001], atol=1e-3)


def predicted(x: Any, t: Any) -> Any:
    return x / jnp.sqrt(1 + 400.0 ** (2 * t - 1))


def test_a_saved_model_draws_the_same(tmp_path: Any) -> None:
    noise = VE(sigma_min=0.05, sigma_max=20.0)
    model = ConsistencyModel(FunctionScore(predicted, noise, PredictNoise()), end=0.01)
    again = load(save(model, tmp_path / "model.eqx"), known=[predicted])
    before, after = (
        consistency(each, noise, (2,), num_steps=2).sample(jax.random.key(0), 10)
        for each in (model, again)
    )
    np.testing.assert_array_equal(before, after)


def test_the_kernel_is_approximate_and_independent() -> None:
    score = gaussian_score(np.zeros(2), np.ones(2), VE(sigma_min=0.01, sigma_max=20.0))
    kernel = ns.Consistency(function=ConsistencyModel(score), num_steps=2)
    tree = ns.sample(
        kernel, jax.random.key(0), num_warmup=0, num_samples=50, num_chains=2, progress=False
    )
    assert tree.attrs["exact"] == 0
    assert tree.attrs["independent_draws"] == 1
    assert (tree.sample_stats["num_grad"].values == 2).all()


def test_bad_input() -> None:
    noise = VE(sigma_min=0.05, sigma_max=20.0)
    score = gaussian_score(np.zeros(2), np.ones(2), noise)
    model = ConsistencyModel(score)
    with pytest.raises(TypeError, match="train a consistency model of it first"):
        consistency(score, noise, (2,))
    with pytest.raises(ValueError, match="was trained with VE"):
        consistency(model, VP(), (2,))
    with pytest.raises(ValueError, match="num_steps is 0"):
        consistency(model, noise, (2,), num_steps=0)
    with pytest.raises(TypeError, match="Consistency needs the noise process"):
        ns.Consistency(function=closed_form(noise), shape=(2,))
