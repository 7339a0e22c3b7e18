"""Every noise process against what defines it, in both precisions, at both ends of time."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import (
    OU,
    VE,
    VP,
    CosineVP,
    DiscreteVP,
    SubVP,
    ddpm_betas,
    solve_time,
)
from numpyro_score.noise import convert as forms

PROCESSES = {
    "ve": VE(sigma_min=0.01, sigma_max=50.0),
    "vp": VP(),
    "cosine": CosineVP(),
    "subvp": SubVP(),
    "ou": OU(end_time=5.0),
    "discrete": DiscreteVP(np.linspace(1e-4, 0.02, 1000)),
}
every_process = pytest.mark.parametrize("name", PROCESSES)


@pytest.fixture(autouse=True)
def strict_broadcasting() -> Any:
    with jax.numpy_rank_promotion("raise"):
        yield


@every_process
def test_the_distribution_solves_the_moment_equations(name: str, x64: None) -> None:
    """`dm/dt = f m` and `dv/dt = 2 f v + g^2`, integrated, give `alpha` and `sigma^2` back."""
    noise = PROCESSES[name]

    def slope(t: Any, y: Any, _: Any) -> Any:
        mean, variance = y
        f, g2 = noise.drift_coefficient(t), noise.squared_diffusion(t)
        return f * mean, 2 * f * variance + g2

    times = jnp.linspace(0.0, 1.0, 6)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        diffrax.Tsit5(),
        0.0,
        1.0,
        None,
        (noise.alpha(0.0), noise.variance(0.0)),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
        max_steps=100_000,
    )
    assert solution.ys is not None
    mean, variance = solution.ys
    np.testing.assert_allclose(mean, noise.alpha(times), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, noise.variance(times), rtol=1e-4, atol=1e-6)


@every_process
@pytest.mark.parametrize("is_double", [False, True])
def test_everything_is_finite_at_both_ends(name: str, is_double: bool) -> None:
    noise = PROCESSES[name]
    with jax.enable_x64(is_double):
        dtype = jnp.float64 if is_double else jnp.float32
        t = jnp.linspace(0, 1, 101, dtype=dtype)
        for fn in ("alpha", "sigma", "ratio", "drift_coefficient", "squared_diffusion"):
            value = getattr(noise, fn)(t)
            assert value.dtype == dtype
            assert jnp.isfinite(value).all()
        assert (jnp.diff(noise.log_snr(t)[1:]) < 0).all()
        assert (noise.squared_diffusion(t) >= 0).all()
        assert abs(float(noise.alpha(t[0])) - 1) < 1e-6
        assert noise.sigma(0.5).shape == ()


@every_process
def test_single_precision_agrees_with_double(name: str) -> None:
    noise = PROCESSES[name]
    # between the steps of the chain, where its beta jumps
    t = np.array([1e-4, 1.5e-3, 0.0105, 0.1005, 0.5005, 0.9005, 0.9985, 1.0])
    for fn in ("alpha", "sigma", "drift_coefficient", "squared_diffusion"):
        single = getattr(noise, fn)(jnp.asarray(t, jnp.float32))
        with jax.enable_x64(True):
            double = getattr(noise, fn)(jnp.asarray(t.astype(np.float32), jnp.float64))
        np.testing.assert_allclose(single, double, rtol=2e-4)


@every_process
def test_time_of_inverts_the_ratio(name: str) -> None:
    noise = PROCESSES[name]
    t = jnp.concatenate([jnp.array([1e-3, 0.01]), jnp.linspace(0.05, 1.0, 20)])
    # straight through, and against bisection
    np.testing.assert_allclose(noise.time_of(noise.ratio(t)), t, rtol=1e-3)
    np.testing.assert_allclose(solve_time(noise, noise.ratio(t)), t, rtol=1e-3)
    ends = noise.time_of(jnp.array([1e-9, 1e9]))
    np.testing.assert_allclose(ends, [0.0, 1.0], atol=1e-4)


def test_the_named_processes_are_what_their_papers_say() -> None:
    t = jnp.linspace(0, 1, 11)
    ve, vp, ou, sub = (PROCESSES[name] for name in ("ve", "vp", "ou", "subvp"))
    np.testing.assert_allclose(ve.sigma(t), 0.01 * 5000.0**t, rtol=1e-5)
    beta = 0.1 + 19.9 * t
    np.testing.assert_allclose(vp.drift_coefficient(t), -beta / 2, rtol=1e-5)
    np.testing.assert_allclose(vp.squared_diffusion(t), beta, rtol=1e-4)
    integral = 0.1 * t + 19.9 * t**2 / 2
    np.testing.assert_allclose(
        sub.squared_diffusion(t), beta * (1 - jnp.exp(-2 * integral)), atol=2e-4
    )
    np.testing.assert_allclose(ou.alpha(t), np.exp(-5 * np.asarray(t)), rtol=1e-5)
    np.testing.assert_allclose(ou.squared_diffusion(t), 10.0, rtol=1e-4)
    # Nichol and Dhariwal's alpha_bar, until their cut
    angle = 0.5 * np.pi * (np.asarray(t) + 0.008) / 1.008
    cosine = np.cos(angle) / np.cos(angle[0])
    np.testing.assert_allclose(PROCESSES["cosine"].alpha(t[:10]), cosine[:10], atol=5e-3)


def test_ddpm_steps_and_continuous_process_have_one_distribution(x64: None) -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    noise = DiscreteVP(betas)
    np.testing.assert_allclose(ddpm_betas(noise, 1000), betas, rtol=1e-9)
    steps = np.arange(1, 1001) / 1000
    np.testing.assert_allclose(
        noise.alpha(jnp.asarray(steps)), np.sqrt(np.cumprod(1 - betas)), rtol=1e-9
    )
    # and from a process: the chain's distributions are the process's at those times
    betas = np.asarray(ddpm_betas(VP(), 50))
    alphas = np.sqrt(np.cumprod(1 - betas))
    np.testing.assert_allclose(alphas, VP().alpha(jnp.arange(1, 51) / 50), rtol=1e-9)
    chain = DiscreteVP(betas)
    np.testing.assert_allclose(chain.alpha(1.0), VP().alpha(1.0), rtol=1e-9)


@every_process
def test_forms_of_one_score_are_consistent(name: str) -> None:
    """Of Gaussian data all four forms are known, and each gives the score back."""
    noise = PROCESSES[name]
    x, mean, sd = jnp.array([1.5, -0.3, 2.0]), jnp.array([0.5, 0.0, -1.0]), 1.7
    for t in (0.05, 0.4, 0.95):
        alpha, sigma = noise.alpha(t), noise.sigma(t)
        total = (alpha * sd) ** 2 + sigma**2
        score = -(x - alpha * mean) / total
        x0 = mean + alpha * sd**2 / total * (x - alpha * mean)
        z = sigma / total * (x - alpha * mean)
        np.testing.assert_allclose(noise.denoised(x, t, score), x0, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(noise.score(x, t, x0), score, rtol=1e-2, atol=1e-3)
        np.testing.assert_allclose(forms.score_to_noise(x, alpha, sigma, score), z, rtol=1e-5)
        np.testing.assert_allclose(forms.noise_to_score(x, alpha, sigma, z), score, rtol=1e-5)
        v = forms.score_to_velocity(x, alpha, sigma, score)
        np.testing.assert_allclose(v, alpha * z - sigma * x0, rtol=1e-3, atol=1e-3)
        back = forms.velocity_to_score(x, alpha, sigma, v)
        np.testing.assert_allclose(back, score, rtol=1e-3, atol=1e-3)


@every_process
def test_drifts_and_prior(name: str) -> None:
    noise = PROCESSES[name]
    x, score, t = jnp.array([1.0, 2.0]), jnp.array([0.3, -0.7]), 0.6
    f, g2 = noise.drift_coefficient(t), noise.squared_diffusion(t)
    np.testing.assert_allclose(noise.drift(x, t), f * x)
    np.testing.assert_allclose(noise.reverse_drift(x, t, score), f * x - g2 * score, rtol=1e-6)
    middle = (noise.drift(x, t) + noise.reverse_drift(x, t, score)) / 2
    np.testing.assert_allclose(noise.probability_flow_drift(x, t, score), middle, rtol=1e-5)
    np.testing.assert_allclose(noise.diffusion(t) ** 2, g2, rtol=1e-5)
    mean, sd = noise.prior(mean=x, sd=jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(mean, noise.alpha(1.0) * x, rtol=1e-6)
    np.testing.assert_allclose(
        sd**2, noise.alpha(1.0) ** 2 * jnp.array([4.0, 9.0]) + noise.variance(1.0), rtol=1e-5
    )


@every_process
def test_perturbed_points_have_the_distribution_of_the_process(name: str) -> None:
    """Mean and variance of many noised points, and of an Euler path of the diffusion."""
    noise, x0, n = PROCESSES[name], jnp.array([2.0, -1.0]), 20_000
    keys = jax.random.split(jax.random.key(0), n)
    for t in (0.1, 0.7):
        x, z = jax.vmap(lambda key, t=t: noise.perturb(key, x0, t))(keys)
        sigma, alpha = float(noise.sigma(t)), float(noise.alpha(t))
        se = sigma / np.sqrt(n)
        assert np.abs(np.asarray(x.mean(0) - alpha * x0)).max() < 4.5 * se
        assert np.abs(np.asarray(x.std(0)) - sigma).max() < 4.5 * se / np.sqrt(2)
        np.testing.assert_allclose(x[:9], (alpha * x0)[None] + sigma * z[:9], rtol=1e-4, atol=1e-5)


def test_a_process_is_a_pytree_without_arrays() -> None:
    """Training finds nothing in it to change, and a compiled function sees a constant."""
    for noise in PROCESSES.values():
        assert jax.tree.leaves(noise) == []
        assert hash(noise) == hash(noise)
        value = jax.jit(lambda n, t: n.sigma(t))(noise, 0.5)
        np.testing.assert_allclose(value, noise.sigma(0.5), rtol=1e-5)
    assert eqx.tree_equal(VE(0.1, 2.0), VE(0.1, 2.0))


@pytest.mark.usefixtures("unchecked")
def test_bad_processes_are_refused() -> None:
    for ends in [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (0.1, float("nan"))]:
        with pytest.raises(ValueError, match=r"0 < sigma_min < sigma_max"):
            VE(*ends)
    for process in (VP, SubVP):
        with pytest.raises(ValueError, match="0 < beta_min < beta_max"):
            process(3.0, 2.0)
    with pytest.raises(ValueError, match="0 < alpha_end < 1"):
        CosineVP(alpha_end=1.0)
    with pytest.raises(ValueError, match="above 0"):
        OU(end_time=-1.0)
    for betas in ([], [0.1, 1.0], [0.0], [[0.1]]):
        with pytest.raises(ValueError, match="each between 0 and 1"):
            DiscreteVP(np.array(betas))
    with pytest.raises(ValueError, match="VE does not preserve variance"):
        ddpm_betas(VE(), 10)
    with pytest.raises(ValueError, match="num_steps is 0"):
        ddpm_betas(VP(), 0)
