"""The probability flow: the data's distribution, codes that come back, exact densities."""

from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP
from numpyro_score.samplers import (
    Tolerance,
    adaptive,
    ddim,
    dpm_solver,
    heun,
    probability_flow,
)
from numpyro_score.scores import GaussianMixtureScore

ENOUGH: dict[str, Any] = {
    "heun": (heun, 40),
    "dpm_solver": (dpm_solver, 60),
    "ddim": (ddim, 500),
    "ddim, half random": (partial(ddim, eta=0.5), 500),
    "adaptive": (adaptive, 1),
}
NUM = 10_000
START: dict[str, Any] = {"data_mean": (0.8, -0.4), "data_sd": (2.03, 1.18)}
TIGHT = partial(adaptive, tolerance=Tolerance(1e-9, 1e-9))


@pytest.mark.parametrize("name", ENOUGH)
def test_draws_have_the_distribution_of_the_data(
    name: str, mixture: Any, exact_draws: Any, largest_z: Any
) -> None:
    method, num_steps = ENOUGH[name]
    flow = probability_flow(
        mixture, mixture.noise, (2,), num_steps=num_steps, method=method, **START
    )
    assert largest_z(flow.sample(jax.random.key(1), NUM), exact_draws) < 4.5


def test_too_much_noise_at_the_start_is_seen(
    mixture: Any, exact_draws: Any, largest_z: Any
) -> None:
    """The flow keeps a wrong start: its sd 1.2 times too large."""
    noise = mixture.noise
    sd = 1.2 * noise.prior(sd=jnp.asarray(START["data_sd"]))[1]
    too_wide = jnp.sqrt(sd**2 - noise.variance(1.0)) / noise.alpha(1.0)
    flow = probability_flow(mixture, noise, (2,), num_steps=40, data_sd=too_wide)
    assert largest_z(flow.sample(jax.random.key(1), NUM), exact_draws) > 8


@pytest.mark.parametrize("method", [heun, dpm_solver], ids=lambda m: m.__name__)
def test_encode_then_decode_returns_with_order_two(method: Any, mixture: Any, x64: None) -> None:
    points = jnp.asarray(mixture.sample(jax.random.key(0), 20), float)

    def gap(num_steps: int) -> float:
        flow = probability_flow(mixture, mixture.noise, (2,), num_steps=num_steps, method=method)
        back = jax.vmap(lambda x: flow.decode(flow.encode(x)))(points)
        return float(abs(back - points).max())

    coarse, fine = gap(100), gap(200)
    assert coarse < 0.05
    assert 1.6 < np.log2(coarse / fine) < 3.4


def test_encode_then_decode_returns_to_the_tolerance(mixture: Any, x64: None) -> None:
    flow = probability_flow(mixture, mixture.noise, (2,), num_steps=1, method=TIGHT)
    points = jnp.asarray(mixture.sample(jax.random.key(0), 20), float)
    codes = jax.vmap(flow.encode)(points)
    assert abs(codes - points).max() > 0.1
    np.testing.assert_allclose(jax.vmap(flow.decode)(codes), points, atol=1e-6)


@pytest.mark.parametrize(
    "noise",
    [pytest.param(VE(sigma_min=0.05, sigma_max=500.0), marks=pytest.mark.slow), VP()],
    ids=["ve", "vp"],
)
def test_log_density_is_the_noised_distribution_s(noise: Any, x64: None) -> None:
    """In nats, to 1e-3, beside the mixture's own formula at the time where draws end."""
    model = GaussianMixtureScore(
        [0.3, 0.7], [[-2.0, 1.0], [2.0, -1.0]], np.array([[0.5, 1.0], [1.0, 0.3]]), noise
    )
    flow = probability_flow(model, noise, (2,), num_steps=10, **START)
    points = model.sample(jax.random.key(0), 50)
    ours = jax.vmap(lambda x: flow.log_prob(x, rtol=1e-8, atol=1e-8))(points)
    exact = jax.vmap(model.log_prob, (0, None))(points, flow.end)
    np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-3)
    # the score of noise 1.05 times too large is told apart
    wrong = probability_flow(lambda x, t: model(x, t) / 1.05, noise, (2,), **START)
    off = jax.vmap(lambda x: wrong.log_prob(x, rtol=1e-8, atol=1e-8))(points[:5])
    assert abs(off - exact[:5]).mean() > 0.1


def test_log_density_of_an_image_s_shape(x64: None) -> None:
    noise = VP()
    model = GaussianMixtureScore([1.0], np.ones((1, 1, 2, 2)), 0.5, noise)
    flow = probability_flow(model, noise, (1, 2, 2), data_mean=1.0, data_sd=np.sqrt(0.5))
    x = jnp.arange(4.0).reshape(1, 2, 2)
    exact = model.log_prob(x, flow.end)
    np.testing.assert_allclose(flow.log_prob(x, rtol=1e-8, atol=1e-8), exact, atol=1e-6)


def test_trajectories_and_steps_are_those_of_the_decoder(mixture: Any) -> None:
    flow = probability_flow(mixture, mixture.noise, (2,), num_steps=4, denoise=True)
    times, positions = flow.trajectory(jax.random.key(3), 2)
    assert positions.shape == (2, 6, 2)
    assert flow.evaluations == 10
    denoised = jax.vmap(mixture.denoise, (0, None))(positions[:, -2], float(times[-1]))
    np.testing.assert_allclose(positions[:, -1], denoised, rtol=1e-4, atol=1e-4)
    state, info = flow.step(jax.random.key(0), flow.init(jnp.asarray(positions[0, 0])))
    np.testing.assert_allclose(state.position, positions[0, 1], rtol=1e-4)
    assert not bool(info.is_finished)


@pytest.mark.parametrize(
    "solver",
    [diffrax.Tsit5(), pytest.param(diffrax.Heun(), marks=pytest.mark.slow)],
    ids=["fsal", "not fsal"],
)
def test_an_adaptive_method_counts_its_calls(solver: Any, mixture: Any) -> None:
    """As many as a callback sees, denoising included."""
    seen: list[Any] = []

    def score(x: Any, t: Any) -> Any:
        jax.debug.callback(seen.append, t)
        return mixture(x, t)

    method = partial(adaptive, tolerance=Tolerance(1e-3, 1e-3, solver))
    flow = probability_flow(
        score, mixture.noise, (2,), num_steps=3, method=method, denoise=True, **START
    )
    assert flow.evaluations is None
    _, count = eqx.filter_jit(flow.draw)(jax.random.key(0))
    jax.effects_barrier()
    assert int(count) == len(seen) > 10
    seen.clear()
    assert flow.encoder is not None
    _, count = eqx.filter_jit(flow.encoder.draw)(jax.random.key(0))
    jax.effects_barrier()
    assert int(count) == len(seen) > 10
    _, positions = flow.trajectory(jax.random.key(0), 2)
    denoised = jax.vmap(mixture.denoise, (0, None))(positions[:, -2], float(flow.end))
    np.testing.assert_allclose(positions[:, -1], denoised, rtol=1e-4, atol=1e-4)
    assert positions.shape == (2, 5, 2)


@pytest.mark.slow
def test_random_signs_estimate_the_log_density(mixture: Any, x64: None) -> None:
    """Within its own standard error, which is what it says: z-scores of variance 1."""
    flow = probability_flow(mixture, mixture.noise, (2,), num_steps=2, **START)
    x = jnp.array([1.5, -0.7])
    exact = flow.log_prob(x, rtol=1e-6, atol=1e-6)
    keys = jax.random.split(jax.random.key(0), 100)
    found = jax.vmap(lambda key: flow.approximate_log_prob(key, x, num_probes=32))(keys)
    spread = (found.log_prob - exact).std()
    assert abs(found.log_prob.mean() - exact) < 4.5 * spread / 10
    assert 0.7 < spread / found.standard_error.mean() < 1.4  # 4.5 standard errors of a sd of 100
    assert spread > 0


def test_log_prob_says_what_it_took(mixture: Any) -> None:
    flow = probability_flow(mixture, mixture.noise, (2,), num_steps=2, **START)
    x = jnp.array([1.5, -0.7])
    log_prob, count = flow.log_prob_and_count(x)
    assert float(log_prob) == float(flow.log_prob(x))
    assert int(count) % 3 == 0
    assert int(count) > 3 * 20


def test_bad_input_is_refused(unchecked: None) -> None:
    def make(**arguments: Any) -> Any:
        return probability_flow(lambda x, t: -x, VP(), (2,), **arguments)

    with pytest.raises(ValueError, match="num_steps is 0"):
        make(num_steps=0)
    with pytest.raises(ValueError, match="eta is 2"):
        make(method=partial(ddim, eta=2.0))
    with pytest.raises(ValueError, match="rtol = 0"):
        make(method=partial(adaptive, tolerance=Tolerance(rtol=0.0)))
    implicit: Any = diffrax.Kvaerno3()
    with pytest.raises(TypeError, match="the solver is a Kvaerno3"):
        make(method=partial(adaptive, tolerance=Tolerance(solver=implicit)))
    with pytest.raises(ValueError, match="num_probes is 1"):
        make().approximate_log_prob(jax.random.key(0), jnp.zeros(2), num_probes=1)
    with pytest.raises(ValueError, match="encode needs steps without noise"):
        make(method=partial(ddim, eta=1.0)).encode(jnp.zeros(2))
    with pytest.raises(ValueError, match=r"point has shape \(3,\)"):
        make().log_prob(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"returns shape \(3,\)"):
        probability_flow(lambda x, t: jnp.zeros(3), VP(), (2,))
