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


@jax.jit
def evaluate(noise: Any, t: Any) -> dict[str, jax.Array]:
    """All of a process's functions of time, in one program."""
    names = ("alpha", "sigma", "variance", "ratio", "log_snr")
    return {fn: getattr(noise, fn)(t) for fn in (*names, "drift_coefficient", "squared_diffusion")}


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

    @jax.jit
    def integrate(times: Any) -> Any:
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
        return solution.ys

    times = np.linspace(0.0, 1.0, 6)
    mean, variance = integrate(times)
    stated = evaluate(noise, times)
    np.testing.assert_allclose(mean, stated["alpha"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, stated["variance"], rtol=1e-4, atol=1e-6)


@every_process
@pytest.mark.parametrize("is_double", [False, True])
def test_everything_is_finite_at_both_ends(name: str, is_double: bool) -> None:
    noise = PROCESSES[name]
    with jax.enable_x64(is_double):
        dtype = np.float64 if is_double else np.float32
        values = {
            k: np.asarray(v)
            for k, v in evaluate(noise, np.linspace(0, 1, 101, dtype=dtype)).items()
        }
        for fn in ("alpha", "sigma", "ratio", "drift_coefficient", "squared_diffusion"):
            assert values[fn].dtype == dtype
            assert np.isfinite(values[fn]).all()
        assert (np.diff(values["log_snr"][1:]) < 0).all()
        assert (values["squared_diffusion"] >= 0).all()
        assert abs(float(values["alpha"][0]) - 1) < 1e-6
        assert noise.sigma(0.5).shape == ()


@every_process
def test_single_precision_agrees_with_double(name: str) -> None:
    noise = PROCESSES[name]
    # between the steps of the chain, where its beta jumps
    t = np.array([1e-4, 1.5e-3, 0.0105, 0.1005, 0.5005, 0.9005, 0.9985, 1.0])
    single = evaluate(noise, t.astype(np.float32))
    with jax.enable_x64(True):
        double = evaluate(noise, t.astype(np.float32).astype(np.float64))
    for fn in ("alpha", "sigma", "drift_coefficient", "squared_diffusion"):
        np.testing.assert_allclose(single[fn], double[fn], rtol=2e-4)


@every_process
def test_time_of_inverts_the_ratio(name: str) -> None:
    noise = PROCESSES[name]
    t = np.concatenate([[1e-3, 0.01], np.linspace(0.05, 1.0, 20)]).astype(np.float32)

    @jax.jit
    def inverted(t: Any) -> Any:
        ratio = noise.ratio(t)
        return noise.time_of(ratio), solve_time(noise, ratio), noise.time_of(jnp.array([1e-9, 1e9]))

    straight, bisection, ends = inverted(t)
    np.testing.assert_allclose(straight, t, rtol=1e-3)
    np.testing.assert_allclose(bisection, t, rtol=1e-3)
    np.testing.assert_allclose(ends, [0.0, 1.0], atol=1e-4)


def test_the_named_processes_are_what_their_papers_say() -> None:
    t = np.linspace(0, 1, 11)
    ve, vp, ou, sub, cosine = (
        evaluate(PROCESSES[name], t) for name in ("ve", "vp", "ou", "subvp", "cosine")
    )
    np.testing.assert_allclose(ve["sigma"], 0.01 * 5000.0**t, rtol=1e-5)
    beta = 0.1 + 19.9 * t
    np.testing.assert_allclose(vp["drift_coefficient"], -beta / 2, rtol=1e-5)
    np.testing.assert_allclose(vp["squared_diffusion"], beta, rtol=1e-4)
    integral = 0.1 * t + 19.9 * t**2 / 2
    np.testing.assert_allclose(
        sub["squared_diffusion"], beta * (1 - np.exp(-2 * integral)), atol=2e-4
    )
    np.testing.assert_allclose(ou["alpha"], np.exp(-5 * t), rtol=1e-5)
    np.testing.assert_allclose(ou["squared_diffusion"], 10.0, rtol=1e-4)
    # Nichol and Dhariwal's alpha_bar, until their cut
    angle = 0.5 * np.pi * (t + 0.008) / 1.008
    alpha = np.cos(angle) / np.cos(angle[0])
    np.testing.assert_allclose(cosine["alpha"][:10], alpha[:10], atol=5e-3)


def test_ddpm_steps_and_continuous_process_have_one_distribution(x64: None) -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    noise = DiscreteVP(betas)
    np.testing.assert_allclose(ddpm_betas(noise, 1000), betas, rtol=1e-9)
    steps = np.arange(1, 1001) / 1000
    np.testing.assert_allclose(
        jax.jit(noise.alpha)(steps), np.sqrt(np.cumprod(1 - betas)), rtol=1e-9
    )
    # and from a process: the chain's distributions are the process's at those times
    betas = np.asarray(ddpm_betas(VP(), 50))
    alphas = np.sqrt(np.cumprod(1 - betas))
    alpha = jax.jit(VP().alpha)
    np.testing.assert_allclose(alphas, alpha(np.arange(1, 51) / 50), rtol=1e-9)
    chain = DiscreteVP(betas)
    np.testing.assert_allclose(jax.jit(chain.alpha)(1.0), alpha(1.0), rtol=1e-9)


@every_process
def test_forms_of_one_score_are_consistent(name: str) -> None:
    """Of Gaussian data all four forms are known, and each gives the score back."""
    noise = PROCESSES[name]
    x, mean, sd = jnp.array([1.5, -0.3, 2.0]), jnp.array([0.5, 0.0, -1.0]), 1.7

    @jax.jit
    def every_form(t: Any) -> Any:
        alpha, sigma = noise.alpha(t), noise.sigma(t)
        total = (alpha * sd) ** 2 + sigma**2
        score = -(x - alpha * mean) / total
        x0 = mean + alpha * sd**2 / total * (x - alpha * mean)
        z = sigma / total * (x - alpha * mean)
        v = forms.score_to_velocity(x, alpha, sigma, score)
        found = {
            "x0": noise.denoised(x, t, score),
            "score": noise.score(x, t, x0),
            "z": forms.score_to_noise(x, alpha, sigma, score),
            "score of z": forms.noise_to_score(x, alpha, sigma, z),
            "v": v,
            "score of v": forms.velocity_to_score(x, alpha, sigma, v),
        }
        return found, score, x0, z, alpha * z - sigma * x0

    for t in (0.05, 0.4, 0.95):
        found, score, x0, z, v = every_form(t)
        np.testing.assert_allclose(found["x0"], x0, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["score"], score, rtol=1e-2, atol=1e-3)
        np.testing.assert_allclose(found["z"], z, rtol=1e-5)
        np.testing.assert_allclose(found["score of z"], score, rtol=1e-5)
        np.testing.assert_allclose(found["v"], v, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(found["score of v"], score, rtol=1e-3, atol=1e-3)


@every_process
def test_drifts_and_prior(name: str) -> None:
    noise = PROCESSES[name]
    x, score = np.array([1.0, 2.0], np.float32), np.array([0.3, -0.7], np.float32)

    @jax.jit
    def every_drift(t: Any, x: Any, score: Any) -> Any:
        drifts = noise.drift(x, t), noise.reverse_drift(x, t, score)
        flow = noise.probability_flow_drift(x, t, score)
        return drifts, flow, noise.diffusion(t), noise.prior(mean=x, sd=jnp.array([2.0, 3.0]))

    (drift, reverse), flow, diffusion, (mean, sd) = jax.tree.map(
        np.asarray, every_drift(0.6, x, score)
    )
    now, end = (jax.tree.map(np.asarray, evaluate(noise, t)) for t in (0.6, 1.0))
    f, g2 = now["drift_coefficient"], now["squared_diffusion"]
    np.testing.assert_allclose(drift, f * x)
    np.testing.assert_allclose(reverse, f * x - g2 * score, rtol=1e-6)
    np.testing.assert_allclose(flow, (drift + reverse) / 2, rtol=1e-5)
    np.testing.assert_allclose(diffusion**2, g2, rtol=1e-5)
    np.testing.assert_allclose(mean, end["alpha"] * x, rtol=1e-6)
    np.testing.assert_allclose(
        sd**2, end["alpha"] ** 2 * np.array([4.0, 9.0]) + end["variance"], rtol=1e-5
    )


@every_process
def test_perturbed_points_have_the_distribution_of_the_process(name: str) -> None:
    """Mean and variance of many noised points, and of an Euler path of the diffusion."""
    noise, x0, n = PROCESSES[name], np.array([2.0, -1.0], np.float32), 20_000
    keys = jax.random.split(jax.random.key(0), n)
    perturb = jax.jit(jax.vmap(noise.perturb, (0, None, None)))
    for t in (0.1, 0.7):
        x, z = (np.asarray(a, np.float64) for a in perturb(keys, x0, t))
        stated = evaluate(noise, t)
        sigma, alpha = float(stated["sigma"]), float(stated["alpha"])
        se = sigma / np.sqrt(n)
        assert np.abs(x.mean(0) - alpha * x0).max() < 4.5 * se
        assert np.abs(x.std(0) - sigma).max() < 4.5 * se / np.sqrt(2)
        np.testing.assert_allclose(x[:9], (alpha * x0)[None] + sigma * z[:9], rtol=1e-4, atol=1e-5)


def test_a_process_is_a_pytree_without_arrays() -> None:
    """Training finds nothing in it to change, and a compiled function sees a constant."""
    for noise in PROCESSES.values():
        assert jax.tree.leaves(noise) == []
        assert hash(noise) == hash(noise)
        value = evaluate(noise, 0.5)["sigma"]
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
