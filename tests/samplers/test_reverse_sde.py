"""Draws by the reverse diffusion are distributed as the data; each plan is its formula."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VP, ddpm_betas
from numpyro_score.samplers import (
    ancestral,
    ddim,
    dpm_solver_sde,
    edm_times,
    euler_maruyama,
    quadratic_times,
    reverse_diffusion,
    reverse_sde,
    uniform_times,
)

# enough steps that the error of the steps is below the Monte Carlo error of NUM draws
ENOUGH = {euler_maruyama: 1000, reverse_diffusion: 1000, ancestral: 500, dpm_solver_sde: 60}
NUM = 10_000
START: dict[str, Any] = {"data_mean": (0.8, -0.4), "data_sd": (2.03, 1.18)}


@pytest.mark.parametrize("method", ENOUGH, ids=lambda method: method.__name__)
def test_draws_have_the_distribution_of_the_data(
    method: Any, mixture: Any, exact_draws: Any, largest_z: Any
) -> None:
    sampler = reverse_sde(
        mixture, mixture.noise, (2,), num_steps=ENOUGH[method], method=method, **START
    )
    assert largest_z(sampler.sample(jax.random.key(1), NUM), exact_draws) < 4.5


@pytest.mark.parametrize("method", [ancestral, dpm_solver_sde], ids=lambda m: m.__name__)
def test_a_wrong_scale_of_the_noise_is_seen(
    method: Any, mixture: Any, exact_draws: Any, largest_z: Any
) -> None:
    """A tenth too much fails what the right scale passes."""
    right = reverse_sde(
        mixture, mixture.noise, (2,), num_steps=ENOUGH[method], method=method, **START
    )
    wrong = eqx.tree_at(lambda s: s.steps.noise, right, replace_fn=lambda e: 1.1 * e)
    assert largest_z(wrong.sample(jax.random.key(1), NUM), exact_draws) > 4.5


def test_draws_do_not_depend_on_the_batch(mixture: Any) -> None:
    sampler = reverse_sde(mixture, mixture.noise, (2,), num_steps=5)
    whole = sampler.sample(jax.random.key(0), 50)
    parts = sampler.sample(jax.random.key(0), 50, batch_size=20, progress=False)
    assert isinstance(parts, np.ndarray)
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-4)
    fewer = sampler.sample(jax.random.key(0), 7)
    np.testing.assert_allclose(whole[:7], fewer, rtol=1e-4, atol=1e-4)


def test_the_bar_counts_draws(mixture: Any, capsys: Any) -> None:
    sampler = reverse_sde(mixture, mixture.noise, (2,), num_steps=5)
    sampler.sample(jax.random.key(0), 50, batch_size=20, progress=True)
    assert "50/50" in capsys.readouterr().err


def test_step_is_one_step_of_the_scan(mixture: Any) -> None:
    """BlackJAX's shape with the sampler's own keys walks the same way, and stays at its end."""
    sampler = reverse_sde(mixture, mixture.noise, (2,), num_steps=4, denoise=True)
    times, positions = sampler.trajectory(jax.random.key(3), 2)
    assert positions.shape == (2, 6, 2)
    assert times.shape == (6,)
    np.testing.assert_allclose(
        positions[:, -1], sampler.sample(jax.random.key(3), 2), rtol=1e-4, atol=1e-5
    )
    key = jax.random.fold_in(jax.random.key(3), 1)
    state = sampler.init(sampler.start(jax.random.fold_in(key, 0)))
    step = jax.jit(sampler.algorithm().step)
    for k in range(5):
        np.testing.assert_allclose(state.position, positions[1, k], rtol=1e-4, atol=1e-5)
        assert float(state.time) == times[k]
        state, info = step(jax.random.fold_in(key, k + 1), state)
        assert bool(info.is_finished) == (k == 4)
    after, _ = step(jax.random.key(0), state)
    np.testing.assert_array_equal(after.position, state.position)


def test_denoising_ends_in_the_denoised_point(mixture: Any) -> None:
    sampler = reverse_sde(mixture, mixture.noise, (2,), num_steps=4, denoise=True)
    times, positions = sampler.trajectory(jax.random.key(3), 3)
    denoised = jax.vmap(mixture.denoise, (0, None))(positions[:, -2], float(times[-1]))
    np.testing.assert_allclose(positions[:, -1], denoised, rtol=1e-4, atol=1e-4)


def test_vp_steps_are_ddpm_s(x64: None) -> None:
    """Both of DDPM's variances, on its own grid but for the last step, which ends without noise."""
    noise, num = VP(), 1000
    betas = np.asarray(ddpm_betas(noise, num))[:0:-1]
    times = jnp.arange(num, 0, -1) / num
    bars = np.asarray(noise.alpha(times)) ** 2
    steps = ancestral(noise, times)
    np.testing.assert_allclose(steps.position, 1 / np.sqrt(1 - betas), rtol=1e-9)
    np.testing.assert_allclose(steps.score, betas / np.sqrt(1 - betas), rtol=1e-9)
    posterior = (1 - bars[1:]) / (1 - bars[:-1]) * betas
    np.testing.assert_allclose(jnp.asarray(steps.noise) ** 2, posterior, rtol=1e-9)
    mirrored = reverse_diffusion(noise, times)
    np.testing.assert_allclose(mirrored.position, 2 - np.sqrt(1 - betas), rtol=1e-9)
    np.testing.assert_allclose(mirrored.score, betas, rtol=1e-9)


@pytest.mark.parametrize("method", [reverse_diffusion, ancestral], ids=lambda m: m.__name__)
def test_short_steps_are_those_of_euler_and_maruyama(method: Any, noise: Any, x64: None) -> None:
    for num, bound in ((1000, 2e-2), (10_000, 2e-3)):
        times = jnp.linspace(0.9, 0.1, num + 1)
        ours, euler = method(noise, times), euler_maruyama(noise, times)
        np.testing.assert_allclose(ours.score, euler.score, rtol=bound)
        np.testing.assert_allclose(ours.noise, jnp.asarray(euler.noise), rtol=bound)
        np.testing.assert_allclose(ours.position, euler.position, atol=bound / 100)


def test_ddim_with_eta_one_is_ancestral(noise: Any, x64: None) -> None:
    times = edm_times(noise, 20)
    ours, theirs = partial(ddim, eta=1.0)(noise, times), ancestral(noise, times)
    for name in ("position", "score", "noise"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8)


@pytest.mark.parametrize("grid", [uniform_times, quadratic_times, edm_times])
def test_grids_fall_between_their_ends(grid: Any, noise: Any) -> None:
    times = np.asarray(grid(noise, 50, end=0.01))
    assert times.shape == (51,)
    assert times[0] == 1
    assert abs(times[-1] - 0.01) < 1e-8
    assert (np.diff(times) < 0).all()


def test_the_edm_grid_is_even_in_the_root_of_the_ratio(noise: Any, x64: None) -> None:
    roots = noise.ratio(edm_times(noise, 50, rho=5.0)) ** (1 / 5)
    np.testing.assert_allclose(np.diff(roots), np.diff(roots).mean(), rtol=1e-5)


def _never(x: Any, t: Any) -> Any:
    raise AssertionError("called before the input was refused")


BAD: dict[str, Any] = {
    "no step": ({"num_steps": 0}, ValueError, "num_steps is 0"),
    "half a step": ({"num_steps": 1.5}, TypeError, "whole number"),
    "a name": ({"method": "euler"}, TypeError, "method is 'euler'"),
    "a grid's name": ({"grid": "uniform"}, TypeError, "grid is a str, but must be a function"),
    "times, not a rule": ({"grid": jnp.linspace(1.0, 0.1, 101)}, TypeError, "for given times"),
    # draws would have the noise of t = 1 where less is expected: sds of 7 in place of 1
    "a late start": (
        {"grid": lambda noise, num: jnp.linspace(0.5, 0.01, num + 1)},
        ValueError,
        "the first time is 0.5, but samplers start from the noise at t = 1",
    ),
    "no noise at the end": ({"grid": partial(uniform_times, end=0.0)}, ValueError, "no noise"),
    "a grid that rises": (
        {"grid": lambda noise, num: jnp.linspace(0.1, 1.0, num + 1)},
        ValueError,
        "do not all fall",
    ),
    "a start of another shape": ({"data_mean": np.zeros(3)}, ValueError, "mean of the start"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case: str, unchecked: None) -> None:
    arguments, error, message = BAD[case]
    with pytest.raises(error, match=message):
        reverse_sde(lambda x, t: -x, VP(), (2,), **arguments)


@pytest.mark.parametrize(
    ("score", "error", "message"),
    [
        (lambda x, t: x[0], ValueError, r"returns shape \(\)"),
        (lambda x, t: jnp.stack([x, x]), ValueError, r"returns shape \(2, 2\)"),
        (lambda x, t: (x, x), TypeError, "one array"),
        (3.0, TypeError, "a callable"),
    ],
)
def test_bad_scores_are_refused(score: Any, error: Any, message: str, unchecked: None) -> None:
    with pytest.raises(error, match=message):
        reverse_sde(score, VP(), (2,))


def test_what_is_no_process_is_refused(unchecked: None) -> None:
    with pytest.raises(TypeError, match="noise is a float"):
        reverse_sde(_never, 0.5, (2,))  # type: ignore[arg-type]


def test_bad_counts_are_refused(unchecked: None) -> None:
    sampler = reverse_sde(lambda x, t: -x, VP(), (2,))
    with pytest.raises(ValueError, match="num_samples is 0"):
        sampler.sample(jax.random.key(0), 0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        sampler.sample(jax.random.key(0), 5, batch_size=0)
    with pytest.raises(ValueError, match=r"position has shape \(3,\)"):
        sampler.init(jnp.zeros(3))
