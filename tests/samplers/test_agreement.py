"""Draws that do not agree with their score are told, by planted errors; others are not."""

import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.diagnostics import ConvergenceWarning
from numpyro_score.noise import VE, geometric_ladder
from numpyro_score.samplers import (
    GuidedScore,
    annealed_langevin,
    probability_flow,
    reverse_sde,
)
from numpyro_score.samplers.agreement import FEWEST_DRAWS, NUM_DRAWS, disagreements, levels_of
from numpyro_score.scores import GaussianMixtureScore

NOISE = VE(sigma_min=0.01, sigma_max=20.0)


class GaussianScore(eqx.Module):
    """A user's own score, which says nothing of its data; one program for all means and sds."""

    mean: Any
    sd: Any

    def __call__(self, x: Any, t: Any) -> Any:
        return -(x - self.mean) / (self.sd**2 + NOISE.variance(t))


def gaussian(mean: float, sd: float) -> GaussianScore:
    return GaussianScore(jnp.asarray(mean), jnp.asarray(sd))


def told(score: Any, draws: Any, *, data_sd: Any = 1.0, denoises: bool = False) -> str:
    levels = levels_of(score, NOISE, 0.0, data_sd, denoises=denoises)
    assert levels is not None
    return "; ".join(disagreements(score, levels, draws))


def normal(seed: int = 0, num: int = NUM_DRAWS) -> Any:
    return np.random.default_rng(seed).normal(size=(num, 3))


@pytest.mark.parametrize(
    ("mean", "sd", "said"),
    [
        (0.5, 1.0, r"mean of coordinate \d is off by about 0\.[45]\d* sds"),
        (0.0, 2.0, r"variance of coordinate \d is about (2\.\d|3(\.\d)?) times"),
        (0.0, 0.5, r"variance of coordinate \d is about 0\.[23]\d* times"),
    ],
)
def test_a_planted_error_is_told(mean: float, sd: float, said: str) -> None:
    assert re.search(said, told(gaussian(0.0, 5.0), 5 * (mean + sd * normal())))


def test_right_draws_are_not_warned_of() -> None:
    """Nor are those that are off by 5% of an sd, or too wide by 5%."""
    for seed in range(10):
        for draws in (5 * normal(seed), 5 * (normal(seed) + 0.05), 5.25 * normal(seed)):
            assert not told(gaussian(0.0, 5.0), draws)


@pytest.mark.parametrize("share", [0.8, 0.55])
def test_a_wrong_weight_of_a_mode_is_told(share: float) -> None:
    """Narrow modes at -5 and 5, of which each satisfies the identity on its own."""
    score = GaussianMixtureScore([0.8, 0.2], [[5.0], [-5.0]], np.full((2, 1), 0.01), NOISE)
    rng = np.random.default_rng(0)
    side = np.where(np.arange(NUM_DRAWS) < share * NUM_DRAWS, 5.0, -5.0)
    draws = (side + 0.1 * rng.normal(size=NUM_DRAWS))[:, None]
    assert ("mean of coordinate 0" in told(score, draws)) == (share != 0.8)


@pytest.mark.parametrize("denoises", [False, True])
def test_noise_that_draws_keep_is_told_where_their_sd_was_not_known(denoises: bool) -> None:
    draws = 0.001 * normal() if denoises else np.hypot(0.001, 0.01) * normal()
    narrow = gaussian(0.0, 0.001)
    assert "draws keep noise of sd 0.01" in told(narrow, draws, data_sd=None, denoises=denoises)
    assert not told(gaussian(0.0, 1.0), normal(), data_sd=None)


def test_draws_that_are_not_finite_are_counted() -> None:
    draws = normal()
    draws[:7, 1] = np.nan
    assert told(gaussian(0.0, 1.0), draws).startswith(f"7 of {NUM_DRAWS} draws are not finite")
    assert "are not finite" in told(gaussian(0.0, 1.0), np.full((20, 3), np.inf))


def test_too_few_draws_tell_nothing() -> None:
    assert not told(gaussian(0.0, 1.0), 5 + normal(num=FEWEST_DRAWS - 1))


def test_a_guided_score_is_of_no_density() -> None:
    score = GuidedScore(lambda x, t, y: -x, [1.0], 2.0, NOISE)
    assert levels_of(score, NOISE, 0.0, None, denoises=False) is None


@pytest.mark.parametrize("make", [reverse_sde, probability_flow], ids=lambda make: make.__name__)
def test_a_start_far_from_the_data_is_told_when_drawn(make: Any) -> None:
    """The largest noise is 20, and the data lie at 1,000; nobody said where."""
    score, key = gaussian(1000.0, 1.0), jax.random.key(0)
    with pytest.warns(UserWarning, match=r"mean of coordinate 0 .* give data_mean= and data_sd="):
        lost = make(score, NOISE, (1,), num_steps=30).sample(key, 500)
    assert lost.mean() < 999
    known = make(score, NOISE, (1,), num_steps=30, data_mean=1000.0, data_sd=1.0)
    found = known.sample(key, 500)
    assert abs(found.mean() - 1000) < 0.2


@pytest.mark.parametrize("noise", [None, NOISE], ids=["levels", "times"])
def test_annealing_that_is_too_short_is_told(noise: Any) -> None:
    score = gaussian(3.0, 1.0) if noise else lambda x, sigma: -(x - 3.0) / (1.0 + sigma**2)
    ladder = geometric_ladder(10.0, 0.1, 10)
    sampler = annealed_langevin(score, ladder, (1,), steps_per_level=1, noise=noise)
    with pytest.warns(UserWarning, match=r"variance of coordinate 0 .* steps_per_level="):
        sampler.sample(jax.random.key(0), 500)


def test_a_kernel_s_run_warns_by_its_last_draws() -> None:
    kernel = ns.ReverseSDE(score=gaussian(0.0, 1000.0), noise=NOISE, shape=(3,), num_steps=10)
    with pytest.warns(ConvergenceWarning, match=r"ReverseSDE: .* variance of coordinate"):
        ns.sample(
            kernel, jax.random.key(0), num_warmup=0, num_samples=4, num_chains=32, progress=False
        )
