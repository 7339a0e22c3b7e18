"""Annealed Langevin: the formula, its step size, the modes' weights, and what it refuses."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP, geometric_ladder
from numpyro_score.samplers import annealed_langevin, pick_step_size
from numpyro_score.scores import target_score
from numpyro_score.targets import two_modes

LADDER = geometric_ladder(10.0, 0.1, 10)


def test_a_step_is_the_formula(linear_score: Any, x64: None) -> None:
    sampler = annealed_langevin(linear_score, [2.0, 1.0], (3,), steps_per_level=2, step_size=0.5)
    x = jnp.array([0.0, 1.0, 5.0])
    key, sigma = jax.random.key(4), 2.0
    state, _ = sampler.step(key, sampler.init(x))
    size = 0.5 * sigma**2 / 1.0**2
    z = jax.random.normal(key, (3,))
    expected = x + size / 2 * linear_score(x, sigma) + np.sqrt(size) * z
    np.testing.assert_allclose(state.position, expected, rtol=1e-12)
    levels = [float(state.time)]
    for _ in range(3):
        state, info = sampler.step(key, state)
        levels.append(float(state.time))
    assert levels == [2.0, 1.0, 1.0, 1.0]
    assert bool(info.is_finished)


@pytest.mark.parametrize("steps_per_level", [5, 50])
def test_the_distribution_of_a_gaussian_is_the_recursion_s(
    steps_per_level: int, linear_score: Any
) -> None:
    """On N(3, 1) data mean and variance follow by hand, level by level, bias and all."""
    eps = 0.01
    sampler = annealed_langevin(
        linear_score, LADDER, (1,), steps_per_level=steps_per_level, step_size=eps
    )
    mean, variance = 0.0, LADDER[0] ** 2
    for sigma in np.repeat(LADDER, steps_per_level):
        size = eps * sigma**2 / LADDER[-1] ** 2
        shrink = 1 - size / 2 / (1 + sigma**2)
        mean, variance = 3 + shrink * (mean - 3), shrink**2 * variance + size
    num = 20_000

    def off(sampler: Any) -> float:
        draws = np.float64(sampler.sample(jax.random.key(0), num))
        z_mean = (draws.mean() - mean) / np.sqrt(variance / num)
        z_variance = (draws.var() - variance) / (variance * np.sqrt(2 / num))
        return float(max(abs(z_mean), abs(z_variance)))

    assert off(sampler) < 4.5
    assert off(eqx.tree_at(lambda s: s.steps.noise, sampler, replace_fn=lambda e: 1.1 * e)) > 8


def test_it_weighs_modes_far_apart(linear_score: Any) -> None:
    """Where Langevin dynamics from anywhere gives each mode half, annealing finds .2 and .8."""
    noise = VE(sigma_min=0.1, sigma_max=20.0)
    ladder = geometric_ladder(20.0, 0.1, 10)
    score = target_score(two_modes(), noise)
    sampler = annealed_langevin(
        score, ladder, (2,), steps_per_level=100, step_size=0.01, noise=noise
    )
    draws = sampler.sample(jax.random.key(0), 4000)
    share = (draws.sum(axis=1) > 0).mean()
    # .8, less about .03 for the bias of a ladder this coarse, within 4 standard errors of .006
    assert 0.74 < share < 0.825


def test_a_score_of_times_is_read_at_the_levels(x64: None) -> None:
    """VP's score of `x / alpha` is VE's, so that both give the same draws."""
    ladder = geometric_ladder(10.0, 0.1, 5)
    ve, vp = VE(sigma_min=0.05, sigma_max=20.0), VP()
    ours, theirs = (
        annealed_langevin(
            target_score(two_modes(), noise), ladder, (2,), steps_per_level=3, noise=noise
        ).sample(jax.random.key(0), 10)
        for noise in (ve, vp)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_denoising_is_tweedie(linear_score: Any) -> None:
    sampler = annealed_langevin(
        linear_score, LADDER, (1,), steps_per_level=2, step_size=0.01, denoise=True
    )
    positions = sampler.trajectory(jax.random.key(0), 5).positions
    before = positions[:, -2]
    expected = before + 0.1**2 * linear_score(before, 0.1)
    np.testing.assert_allclose(positions[:, -1], expected, rtol=1e-5)


@pytest.mark.parametrize("steps_per_level", [1, 5, 100])
def test_the_picked_step_hands_the_noise_on(steps_per_level: int) -> None:
    """No other step on a fine grid brings the noise's variance nearer to the level's."""
    eps = pick_step_size(LADDER, steps_per_level)
    gamma = LADDER[0] / LADDER[1]

    def variance(eps: Any) -> Any:
        v = gamma**2
        for _ in range(steps_per_level):
            v = (1 - eps / (2 * LADDER[-1] ** 2)) ** 2 * v + eps / LADDER[-1] ** 2
        return v

    others = np.geomspace(1e-6, 0.99, 2000) * 4 * LADDER[-1] ** 2
    assert abs(variance(eps) - 1) <= abs(variance(others) - 1).min() + 1e-6


BAD: dict[str, Any] = {
    "a ladder that rises": ({"ladder": [0.1, 1.0]}, "does not fall"),
    "a level of 0": ({"ladder": [1.0, 0.0]}, "above 0"),
    "no level": ({"ladder": []}, "vector of noise levels"),
    "no step": ({"steps_per_level": 0}, "steps_per_level is 0"),
    "a step that diverges": ({"step_size": 0.04}, "diverges"),
    "a step of 0": ({"step_size": 0.0}, "above 0"),
    "levels that the process has not": (
        {"noise": VE(sigma_min=1.0, sigma_max=5.0)},
        "levels within",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case: str, unchecked: None) -> None:
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        annealed_langevin(lambda x, s: -x, **{"ladder": LADDER, "shape": (1,), **arguments})


@pytest.mark.filterwarnings("ignore:draws")  # which do not agree with the score
def test_it_does_diverge_from_there(linear_score: Any) -> None:
    """Just below the bound draws stay finite, beyond it they do not."""
    near = annealed_langevin(
        lambda x, s: -x / s**2, [0.1], (1,), steps_per_level=2000, step_size=0.0399
    )
    assert abs(near.sample(jax.random.key(0), 100)).max() < 10
    beyond = eqx.tree_at(lambda s: s.steps.score, near, replace_fn=lambda b: 1.1 * b)
    with pytest.warns(UserWarning, match="100 of 100 draws are not finite"):
        assert not abs(beyond.sample(jax.random.key(0), 100)).max() < 1e10


def test_the_old_name_of_the_step_still_works(linear_score: Any) -> None:
    with pytest.warns(DeprecationWarning, match="'eps' is now called 'step_size'"):
        old = annealed_langevin(linear_score, LADDER, (1,), eps=0.01)  # type: ignore[call-arg]
    new = annealed_langevin(linear_score, LADDER, (1,), step_size=0.01)
    assert jnp.array_equal(old.steps.score, new.steps.score)  # type: ignore[attr-defined]
