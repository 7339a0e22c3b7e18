"""Simulation-based calibration and Geweke's joint test of every exact NumPyro kernel.

*Calibration* (Talts et al. 2018, arXiv:1804.06788): parameters from the prior, data from them,
draws from the posterior: the rank of a parameter among its thinned draws is uniform.

*Geweke* (2004, doi:10.1198/016214504000001132): data redrawn given the parameters (`refresh`) and a
kernel step given the data, in turn, leave the joint distribution alone. Chains start from it
and are independent, so their ends are compared with the prior by plain standard errors.

Both run many data sets as one program, a chain for each, and both have to fail on planted errors.
"""

from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from scipy.stats import chisquare

import numpyro_score as ns
from numpyro_score.infer import NumPyroKernel

NUM_DATA = 3


def model(y: Any) -> None:
    """Unconstrained coordinates `mu` and `log tau`; the prior of the scale is not too wide."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    tau = numpyro.sample("tau", dist.LogNormal(0.0, 0.5))
    with numpyro.plate("obs", NUM_DATA):
        numpyro.sample("y", dist.Normal(mu, tau), obs=y)


def draw_prior(key: Any) -> Any:
    """An exact draw of the unconstrained parameters, `(mu, log tau)`."""
    return jax.random.normal(key, (2,)) * jnp.array([1.0, 0.5])


def draw_data(key: Any, z: Any) -> Any:
    return z[0] + jnp.exp(z[1]) * jax.random.normal(key, (NUM_DATA,))


def as_sites(z: Any) -> dict[str, Any]:
    return {"mu": z[0], "tau": z[1]}


def lopsided(rng_key: Any, position: Any) -> Any:
    """A walk whose width depends on where it is, with its correction."""
    x, unravel = ravel_pytree(position)

    def width(x: Any) -> Any:
        return 0.2 + 1.2 * jax.nn.sigmoid(3 * x)

    new = x + width(x) * jax.random.normal(rng_key, x.shape)

    def log_q(to: Any, since: Any) -> Any:
        w = width(since)
        return jnp.sum(-0.5 * ((to - since) / w) ** 2 - jnp.log(w))

    return unravel(new), log_q(x, new) - log_q(new, x)


def uncorrected(rng_key: Any, position: Any) -> Any:
    return lopsided(rng_key, position)[0], jnp.zeros(())


EXACT: dict[str, Callable[..., NumPyroKernel]] = {
    "mh": lambda: ns.MetropolisHastings(model, proposal=lopsided),
    "rwm": lambda **options: ns.RandomWalkMetropolis(model, step_size=0.6, **options),
    "independence": lambda: ns.IndependenceMetropolis(model),
    "mala": lambda **options: ns.MALA(model, step_size=0.2, **options),
    "mala-dense": lambda **options: ns.MALA(model, step_size=0.2, dense_mass=True, **options),
    "mala-local": lambda **options: ns.MALA(model, step_size=0.2, local_step_size=True, **options),
    "mams": lambda **options: ns.MAMS(model, step_size=0.6, **options),
    "mams-local": lambda **options: ns.MAMS(
        model, step_size=0.6, local_step_size=True, mean_num_steps=2.0, **options
    ),
    "ghmc": lambda **options: ns.GHMC(model, step_size=0.6, **options),
    "hmc": lambda **options: ns.BlackJAXKernel(
        blackjax.hmc, model, parameters={"num_integration_steps": 3}, step_size=0.3, **options
    ),
    "barker": lambda **options: ns.BlackJAXKernel(
        blackjax.barker, model, step_size=0.6, target_accept_prob=0.4, **options
    ),
}
PLANTED: dict[str, Callable[..., NumPyroKernel]] = {
    "no Hastings ratio": lambda: ns.MetropolisHastings(model, proposal=uncorrected),
    "temperature": lambda **options: ns.MALA(model, step_size=0.2, temperature=1.5, **options),
    "unadjusted": lambda: ns.ULA(
        model, step_size=0.5, inverse_mass_matrix=0.4, adapt_mass_matrix=False
    ),
}
SLOW = ("ghmc", "mala-local", "mams", "mams-local")
every_exact_kernel = pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c in SLOW else c for c in EXACT]
)


# -- calibration ----------------------------------------------------------------------------------

NUM_DATASETS, NUM_WARMUP, NUM_KEPT, THINNING = 960, 200, 15, 25
LEVEL = 1e-4


def ranks(kernel: NumPyroKernel) -> Any:
    """Rank of each parameter among its draws, `(data set, parameter)`, from 0 to `NUM_KEPT`."""

    def one(key: Any) -> Any:
        key_prior, key_data, key_chain = jax.random.split(key, 3)
        z = draw_prior(key_prior)
        y = draw_data(key_data, z)
        state = kernel.init(key_chain, NUM_WARMUP, None, (y,), {})

        def step(state: Any, _: Any = None) -> Any:
            return kernel.sample(state, (y,), {})

        def keep(state: Any, _: Any) -> Any:
            state = jax.lax.fori_loop(0, THINNING, lambda _, s: step(s), state)
            return state, ravel_pytree(state.z)[0]

        state = jax.lax.fori_loop(0, NUM_WARMUP, lambda _, s: step(s), state)
        _, draws = jax.lax.scan(keep, state, length=NUM_KEPT)
        return jnp.sum(draws < z, axis=0)

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), NUM_DATASETS)))


def smallest_p_value(found: Any) -> float:
    counts = [np.bincount(column, minlength=NUM_KEPT + 1) for column in found.T]
    return min(float(chisquare(count).pvalue) for count in counts)


@every_exact_kernel
def test_ranks_are_uniform(case: str) -> None:
    assert smallest_p_value(ranks(EXACT[case]())) > LEVEL


@pytest.mark.parametrize("bug", PLANTED)
def test_calibration_sees_planted_errors(bug: str) -> None:
    assert smallest_p_value(ranks(PLANTED[bug]())) < LEVEL


# -- Geweke ---------------------------------------------------------------------------------------

NUM_JOINT, NUM_ROUNDS, SIGMAS = 10_000, 20, 4.5


def joint_statistics(z: Any, y: Any) -> Any:
    """Functions of parameters and data, `(chain, k)`."""
    residual = (y - z[:, :1]) / np.exp(z[:, 1:])
    return np.column_stack(
        [
            z,
            z**2,
            z[:, 0] * z[:, 1],
            y.mean(axis=1),
            z[:, 0] * y.mean(axis=1),
            (residual**2).mean(1),
        ]
    )


def simulate(kernel: NumPyroKernel, *, is_refreshed: bool = True) -> tuple[Any, Any]:
    """Parameters and data after `NUM_ROUNDS` rounds from draws of their joint distribution."""

    def one(key: Any) -> Any:
        key_prior, key_data, key_chain, key_rounds = jax.random.split(key, 4)
        z = draw_prior(key_prior)
        y = draw_data(key_data, z)
        state = kernel.init(key_chain, 0, as_sites(z), (y,), {})

        def one_round(carry: Any, key: Any) -> Any:
            state, _ = carry
            y = draw_data(key, ravel_pytree(state.z)[0])
            if is_refreshed:
                state = kernel.refresh(state, (y,), {})
            return (kernel.sample(state, (y,), {}), y), None

        (state, y), _ = jax.lax.scan(
            one_round, (state, y), jax.random.split(key_rounds, NUM_ROUNDS)
        )
        return ravel_pytree(state.z)[0], y

    z, y = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), NUM_JOINT))
    return np.asarray(z, float), np.asarray(y, float)


def exact_joint() -> tuple[Any, Any]:
    def one(key: Any) -> Any:
        z = draw_prior(key)
        return z, draw_data(jax.random.fold_in(key, 1), z)

    z, y = jax.vmap(one)(jax.random.split(jax.random.key(2), 100_000))
    return np.asarray(z, float), np.asarray(y, float)


@pytest.fixture(scope="module")
def expected() -> Any:
    values = joint_statistics(*exact_joint())
    return values.mean(axis=0), values.std(axis=0)


def worst_z(found: tuple[Any, Any], expected: Any) -> float:
    mean, sd = expected
    se = sd * np.sqrt(1 / NUM_JOINT + 1 / 100_000)
    return float(np.abs((joint_statistics(*found).mean(axis=0) - mean) / se).max())


# nothing to learn: the first P would depend on data that change
FIXED = {"adapt_mass_matrix": False, "inverse_mass_matrix": jnp.array([0.6, 0.2])}


def fixed(case: str) -> NumPyroKernel:
    """The kernel with nothing to learn."""
    options = {} if case in ("mh", "independence") else {**FIXED, "adapt_step_size": False}
    return EXACT[case](**options)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, marks=pytest.mark.slow) if c in ("hmc", "barker", "mala", *SLOW) else c
        for c in EXACT
    ],
)
def test_parameters_and_data_keep_their_joint_distribution(case: str, expected: Any) -> None:
    assert worst_z(simulate(fixed(case)), expected) < SIGMAS


@pytest.mark.parametrize("bug", ["no Hastings ratio", "temperature", "not refreshed"])
def test_geweke_sees_planted_errors(bug: str, expected: Any) -> None:
    is_refreshed = bug != "not refreshed"
    options = FIXED if bug == "temperature" else {}
    kernel = PLANTED[bug](**options) if is_refreshed else fixed("mala")
    assert worst_z(simulate(kernel, is_refreshed=is_refreshed), expected) > SIGMAS
