"""The Langevin move: drift, noise, HMC's leapfrog, BlackJAX's MALA, ULA's own distribution."""

from functools import partial
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc.integrators import IntegratorState, velocity_verlet
from blackjax.mcmc.metrics import default_metric
from scipy.stats import norm

import numpyro_score as ns
from numpyro_score.kernels.mala import optimal_step_size
from numpyro_score.targets import gumbel, std_gaussian

SIGMAS = 4.5
# lists, so that an array is made of them at each use, in the precision of that test
METRICS: dict[str, Any] = {
    "identity": None,
    "diagonal": [2.0, 1.0, 0.3],
    "dense": [[2.0, 0.5, 0.1], [0.5, 1.0, -0.2], [0.1, -0.2, 0.3]],
}
DENSE = [[2.0, 0.5], [0.5, 1.0]]
every_metric = pytest.mark.parametrize("metric", METRICS)


def matrix_of(metric: str) -> Any:
    if METRICS[metric] is None:
        return np.eye(3)
    given = np.array(METRICS[metric])
    return np.diag(given) if given.ndim == 1 else given


def skewed(x: Any) -> Any:
    return gumbel(3).logdensity_fn(x) - 0.1 * jnp.sum(x) ** 2


# -- the proposal ---------------------------------------------------------------------------------


@every_metric
@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_mean_and_covariance_of_one_move(metric: str, temperature: float) -> None:
    eps, n = 0.3, 40_000
    algorithm = ns.ula(
        skewed, step_size=eps, inverse_mass_matrix=METRICS[metric], temperature=temperature
    )
    x = jnp.array([0.5, -0.3, 1.0])
    state = algorithm.init(x)
    step = jax.jit(jax.vmap(lambda key: algorithm.step(key, state)[0].position))
    draws = np.asarray(step(jax.random.split(jax.random.key(0), n)), float)
    p = matrix_of(metric)
    mean = np.asarray(x) + eps * p @ np.asarray(jax.grad(skewed)(x))
    cov = 2 * eps * temperature * p
    sd = np.sqrt(np.diag(cov))
    assert np.abs((draws.mean(0) - mean) / (sd / np.sqrt(n))).max() < SIGMAS
    se = np.sqrt((np.outer(sd**2, sd**2) + cov**2) / n)
    assert np.abs((np.cov(draws.T) - cov) / se).max() < SIGMAS


@every_metric
def test_an_accepted_mala_move_is_the_ula_move_of_the_same_key(metric: str) -> None:
    options = {"step_size": 0.4, "inverse_mass_matrix": METRICS[metric]}
    mala, ula = (make(skewed, **options) for make in (ns.mala, ns.ula))
    x = jnp.array([0.5, -0.3, 1.0])
    keys = jax.random.split(jax.random.key(1), 200)
    adjusted, info = jax.jit(jax.vmap(lambda key: mala.step(key, mala.init(x))))(keys)
    proposed, _ = jax.jit(jax.vmap(lambda key: ula.step(key, ula.init(x))))(keys)
    accepted = np.asarray(info.is_accepted)
    assert 0.2 < accepted.mean() < 0.99
    np.testing.assert_allclose(
        adjusted.position[accepted], proposed.position[accepted], rtol=1e-5, atol=1e-6
    )
    assert (np.asarray(adjusted.position)[~accepted] == np.asarray(x)).all()
    # the state carries what belongs to its position
    np.testing.assert_allclose(
        adjusted.logdensity, jax.vmap(skewed)(adjusted.position), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        adjusted.logdensity_grad, jax.vmap(jax.grad(skewed))(adjusted.position), atol=1e-4
    )


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.0, -1.0])
def test_a_wrong_drift_costs_acceptance(factor: float, run_chains: Any) -> None:
    """Accept/reject hides a wrong drift from every moment; acceptance shows it.

    With `factor` times the gradient of a unit Gaussian the log ratio has, to leading order in eps,
    mean `-v/2` and variance `v = 2 eps d (1 - factor)^2`: mean acceptance `2 Phi(-sqrt(v) / 2)`.
    """
    dim, eps = 10, 0.05
    target = std_gaussian(dim)
    algorithm = ns.mala(target.logdensity_fn, eps, drift_fn=lambda x: -factor * x)
    start = target.sample(jax.random.key(0), 2_000)["x"]
    run = run_chains(algorithm, 0, start, 5)
    expected = 2 * norm.cdf(-0.5 * np.sqrt(2 * eps * dim) * abs(1 - factor))
    assert abs(float(run.info.acceptance_rate.mean()) - expected) < 0.03


def test_the_optimal_step_has_the_optimal_acceptance(run_chains: Any) -> None:
    dim = 100
    target = std_gaussian(dim)
    algorithm = ns.mala(target.logdensity_fn, optimal_step_size(dim))
    start = target.sample(jax.random.key(0), 500)["x"]
    run = run_chains(algorithm, 0, start, 10)
    assert abs(float(run.info.acceptance_rate.mean()) - 0.574) < 0.04


# -- what it equals -------------------------------------------------------------------------------


@every_metric
def test_mala_is_one_leapfrog_step_of_hmc(metric: str, x64: None) -> None:
    """HMC with mass `P^-1`, step `sqrt(2 eps)` and the momentum `L^-T z` of MALA's noise `z`."""
    eps = 0.35
    p = matrix_of(metric)
    algorithm = ns.mala(skewed, eps, inverse_mass_matrix=METRICS[metric])
    unadjusted = ns.ula(skewed, eps, inverse_mass_matrix=METRICS[metric])
    kinetic = default_metric(jnp.asarray(p)).kinetic_energy
    leapfrog = velocity_verlet(skewed, kinetic)
    keys = jax.random.split(jax.random.key(2), 50)
    starts = jax.random.normal(jax.random.key(3), (50, 3), jnp.float64)

    @jax.jit
    @jax.vmap
    def both(key: Any, x: Any) -> Any:
        state = algorithm.init(x)
        _, info = algorithm.step(key, state)
        proposed, _ = unadjusted.step(key, unadjusted.init(x))
        z = jax.random.normal(jax.random.split(key)[0], (3,), jnp.float64)
        momentum = jnp.linalg.solve(jnp.linalg.cholesky(jnp.asarray(p)).T, z)
        begin = IntegratorState(x, momentum, state.logdensity, state.logdensity_grad)
        end = leapfrog(begin, jnp.sqrt(2 * eps))
        energies = [kinetic(s.momentum, s.position) - s.logdensity for s in (begin, end)]
        probability = jnp.exp(jnp.minimum(energies[0] - energies[1], 0.0))
        return proposed.position, info.acceptance_rate, end.position, probability

    position, rate, hmc_position, hmc_rate = both(keys, starts)
    np.testing.assert_allclose(position, hmc_position, rtol=1e-10)
    np.testing.assert_allclose(rate, hmc_rate, rtol=1e-9, atol=1e-12)
    assert np.ptp(np.asarray(rate)) > 0.3  # of a range that tells


def test_mala_without_preconditioner_is_blackjax_s(x64: None) -> None:
    """The same noise, the same acceptance, the same decision: the same chain."""
    ours, theirs = ns.mala(skewed, 0.35), blackjax.mala(skewed, 0.35)
    start = jax.random.normal(jax.random.key(4), (20, 3), jnp.float64)

    def run(algorithm: Any, x: Any) -> Any:
        keys = jax.random.split(jax.random.key(5), 20)
        state, info = jax.lax.scan(
            lambda state, key: algorithm.step(key, state), algorithm.init(x), keys
        )
        return state.position, info.acceptance_rate, info.is_accepted

    for a, b in zip(
        *(jax.jit(jax.vmap(partial(run, k)))(start) for k in (ours, theirs)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@every_metric
def test_preconditioning_is_a_change_of_coordinates(metric: str, x64: None) -> None:
    """MALA with `P = L L^T` is plain MALA on `y = L^-1 x`, move by move."""
    factor = jnp.linalg.cholesky(jnp.asarray(matrix_of(metric)))
    outer = ns.mala(skewed, 0.3, inverse_mass_matrix=METRICS[metric])
    inner = ns.mala(lambda y: skewed(factor @ y), 0.3)
    x = jnp.array([0.5, -0.3, 1.0])
    state_x, state_y = outer.init(x), inner.init(jnp.linalg.solve(factor, x))
    for key in jax.random.split(jax.random.key(6), 5):
        state_x, info_x = outer.step(key, state_x)
        state_y, info_y = inner.step(key, state_y)
        np.testing.assert_allclose(state_x.position, factor @ state_y.position, rtol=1e-9)
        np.testing.assert_allclose(info_x.acceptance_rate, info_y.acceptance_rate, rtol=1e-8)


# -- ULA ------------------------------------------------------------------------------------------


@every_metric
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_ula_has_its_own_distribution(metric: str, temperature: float, run_chains: Any) -> None:
    """`x' = (1 - eps) x + sqrt(2 eps T) P^(1/2) z` keeps `N(0, T P / (1 - eps/2))`."""
    eps, n = 0.4, 20_000
    p = matrix_of(metric)
    precision = jnp.asarray(np.linalg.inv(p), jnp.float32)
    algorithm = ns.ula(
        lambda x: -0.5 * x @ precision @ x,
        step_size=eps,
        inverse_mass_matrix=METRICS[metric],
        temperature=temperature,
    )
    cov = temperature * p / (1 - eps / 2)
    start = np.random.default_rng(0).multivariate_normal(np.zeros(3), cov, size=n)
    run = run_chains(algorithm, 0, jnp.asarray(start, jnp.float32), 10)
    draws = np.asarray(run.final.position, float)
    variance = np.diag(cov)
    se = np.sqrt((np.outer(variance, variance) + cov**2) / n)

    def worst(covariance: Any) -> float:
        return float(np.abs((np.cov(draws.T) - covariance) / se).max())

    assert worst(cov) < SIGMAS
    assert worst(temperature * p) > SIGMAS  # not the target's
    assert worst(temperature * p / (1 - eps)) > SIGMAS
    assert run.info.is_accepted.all()
    assert (run.info.acceptance_rate == 1).all()


@every_metric
def test_temperature_zero_is_gradient_ascent(metric: str, run_chains: Any) -> None:
    eps = 0.2
    start = np.random.default_rng(1).normal(size=(5, 3))
    algorithm = ns.ula(skewed, step_size=eps, inverse_mass_matrix=METRICS[metric], temperature=0.0)
    run = run_chains(algorithm, 0, jnp.asarray(start, jnp.float32), 200)
    x, p = jnp.asarray(start, jnp.float32), jnp.asarray(matrix_of(metric), jnp.float32)
    for step in range(3):
        x = x + eps * jax.vmap(jax.grad(skewed))(x) @ p
        np.testing.assert_allclose(run.positions[step], x, rtol=1e-4, atol=1e-5)
    # and ends in the mode
    assert np.abs(jax.vmap(jax.grad(skewed))(run.final.position)).max() < 1e-3


def test_a_score_alone_gives_the_chain_of_its_density(run_chains: Any) -> None:
    start = jnp.asarray(np.random.default_rng(2).normal(size=(5, 3)), jnp.float32)
    density = run_chains(ns.ula(skewed, 0.2), 0, start, 10)
    score = run_chains(ns.ula(score_fn=jax.grad(skewed), step_size=0.2), 0, start, 10)
    np.testing.assert_allclose(score.positions, density.positions, rtol=1e-5, atol=1e-5)
    assert jnp.isnan(score.final.logdensity).all()
    assert not score.info.is_divergent.any()


# -- temperature ----------------------------------------------------------------------------------


def walk(rng_key: Any, x: Any) -> Any:
    """A lopsided walk, wider from where it is far out, with its correction."""
    scale = 0.5 + 0.2 * jnp.abs(x)
    new = x + scale * jax.random.normal(rng_key, x.shape)
    back = 0.5 + 0.2 * jnp.abs(new)

    def log_q(step: Any, scale: Any) -> Any:
        return jnp.sum(-0.5 * (step / scale) ** 2 - jnp.log(scale))

    return new, log_q(x - new, back) - log_q(new - x, scale)


TEMPERED = {
    "mala": lambda f, t: ns.mala(f, 0.8, temperature=t),
    "mala-dense": lambda f, t: ns.mala(f, 0.8, inverse_mass_matrix=DENSE, temperature=t),
    "random_walk": lambda f, t: ns.random_walk(f, 1.5, temperature=t),
    "mh-asymmetric": lambda f, t: ns.metropolis_hastings(f, walk, temperature=t),
}


@pytest.mark.parametrize(
    ("case", "is_schedule"), [*((case, False) for case in TEMPERED), ("mala", True)]
)
def test_temperature_two_doubles_the_variance(
    case: str, is_schedule: bool, run_chains: Any
) -> None:
    n, temperature = 20_000, 2.0
    fn = std_gaussian(2).logdensity_fn
    algorithm = TEMPERED[case](fn, (lambda step: temperature) if is_schedule else temperature)
    start = np.sqrt(temperature) * jax.random.normal(jax.random.key(0), (n, 2))
    run = run_chains(algorithm, 1, start, 10)
    draws = np.asarray(run.final.position, float)
    assert np.abs(draws.mean(0) / np.sqrt(temperature / n)).max() < SIGMAS
    z = (np.mean(draws**2, axis=0) - temperature) / (temperature * np.sqrt(2 / n))
    assert np.abs(z).max() < SIGMAS
    assert float(run.info.is_accepted.mean()) > 0.3


@pytest.mark.parametrize("case", TEMPERED)
def test_temperature_zero_never_goes_downhill(case: str, run_chains: Any) -> None:
    fn = std_gaussian(2).logdensity_fn
    start = 3 * jax.random.normal(jax.random.key(0), (50, 2))
    run = run_chains(TEMPERED[case](fn, 0.0), 1, start, 100)
    values = jax.vmap(jax.vmap(fn))(jnp.concatenate([start[None], run.positions]))
    assert (np.diff(values, axis=0) >= 0).all()
    assert (values[-1] > values[0]).all()
    assert np.isin(np.asarray(run.info.acceptance_rate), [0.0, 1.0]).all()


@pytest.mark.parametrize("case", TEMPERED)
def test_a_schedule_reads_the_step(case: str, run_chains: Any) -> None:
    """Hot for five steps, then frozen."""
    fn = std_gaussian(2).logdensity_fn
    algorithm = TEMPERED[case](fn, lambda step: jnp.where(step < 5, 1e6, 0.0))
    start = jax.random.normal(jax.random.key(0), (50, 2))
    run = run_chains(algorithm, 1, start, 10)
    values = np.asarray(jax.vmap(jax.vmap(fn))(jnp.concatenate([start[None], run.positions])))
    went_down = (np.diff(values, axis=0) < 0).any(axis=1)
    assert went_down[:5].all()
    assert not went_down[5:].any()
    assert (run.final.step == 10).all()
