"""Models whose latent sites have no unconstrained dimension, or that have none: as with NUTS."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS

import numpyro_score as ns


def one_category() -> None:
    x = numpyro.sample("x", dist.Dirichlet(jnp.ones(1)))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=2.0)


def empty_vector() -> None:
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([0]).to_event(1))
    numpyro.deterministic("d", jnp.ones(2))


def two_of_one_category() -> None:
    with numpyro.plate("pair", 2):
        numpyro.sample("x", dist.Dirichlet(jnp.ones(1)))


def no_latent_site() -> None:
    numpyro.deterministic("d", jnp.arange(3.0))
    numpyro.sample("y", dist.Normal(0.0, 1.0), obs=2.0)


def no_random_site() -> None:
    numpyro.deterministic("d", jnp.arange(3.0))


KERNELS: dict[str, Callable[..., Any]] = {
    "mala": ns.MALA,
    "dense": lambda model: ns.MALA(model, dense_mass=True),
    "rwm": ns.RandomWalkMetropolis,
    "ula": lambda model: ns.ULA(model, step_size=0.1),
}
MODELS = [one_category, empty_vector, two_of_one_category, no_latent_site, no_random_site]


def drawn(kernel: Any) -> dict[str, np.ndarray]:
    mcmc = MCMC(
        kernel,
        num_warmup=20,
        num_samples=10,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0))
    return mcmc.get_samples(group_by_chain=True)


@pytest.mark.parametrize(
    "name", [n if n == "mala" else pytest.param(n, marks=pytest.mark.slow) for n in KERNELS]
)
@pytest.mark.parametrize("model", MODELS)
def test_draws_are_those_of_nuts(model: Callable[[], None], name: str) -> None:
    expected, found = drawn(NUTS(model)), drawn(KERNELS[name](model))
    assert set(found) == set(expected)
    for site, values in expected.items():
        np.testing.assert_allclose(found[site], values)


@pytest.mark.parametrize("kernel", [ns.MALA, pytest.param(NUTS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", MODELS)
def test_sample_runs_them(model: Callable[[], None], kernel: Callable[..., Any]) -> None:
    expected = drawn(NUTS(model))
    tree = ns.sample(
        kernel(model),
        jax.random.key(0),
        num_warmup=20,
        num_samples=10,
        num_chains=2,
        progress=False,
    )
    assert set(tree.posterior.data_vars) == set(expected)
    for site, values in expected.items():
        np.testing.assert_allclose(tree.posterior[site], values)


def only_data() -> None:
    numpyro.sample("y", dist.Normal(0.0, 1.0), obs=2.0)


@pytest.mark.parametrize("kernel", [ns.MALA, NUTS])
def test_a_model_of_data_alone_is_refused(kernel: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"nothing to (sample|keep)"):
        ns.sample(kernel(only_data), jax.random.key(0), num_warmup=0, num_samples=2, num_chains=2)
