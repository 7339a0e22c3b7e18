"""One small model whose posterior is known by quadrature, and `MCMC` without its progress bar."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC

Y = jnp.array([1.2, -0.3, 2.1, 0.8, 0.4])


def model(y: Any) -> None:
    """A mean and a positive scale, data on a plate, a quantity derived of both."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2.0))
    numpyro.deterministic("ratio", mu / sigma)
    with numpyro.plate("obs", len(y)):
        numpyro.sample("y", dist.Normal(mu, sigma), obs=y)


def log_joint(mu: Any, log_sigma: Any, y: Any) -> Any:
    """Unnormalized log density of the model in its unconstrained coordinates, by hand."""
    sigma = np.exp(log_sigma)
    prior = -0.5 * (mu / 2) ** 2 - 0.5 * (sigma / 2) ** 2 + log_sigma
    residual = (np.asarray(y)[:, None, None] - mu) / sigma
    return prior - 0.5 * (residual**2).sum(axis=0) - len(y) * log_sigma


class Truth(NamedTuple):
    """Posterior mean and sd of each of `FUNCTIONS`."""

    mean: dict[str, float]
    sd: dict[str, float]


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "mu": lambda mu, sigma: mu,
    "sigma": lambda mu, sigma: sigma,
    "log sigma": lambda mu, sigma: np.log(sigma),
    "mu^2": lambda mu, sigma: mu**2,
    "ratio": lambda mu, sigma: mu / sigma,
}


def posterior(y: Any) -> Truth:
    mu, log_sigma = np.meshgrid(np.linspace(-8, 8, 1201), np.linspace(-4, 3, 1201))
    log_p = log_joint(mu, log_sigma, y)
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    values = {name: fn(mu, np.exp(log_sigma)) for name, fn in FUNCTIONS.items()}
    mean = {name: float((weight * v).sum()) for name, v in values.items()}
    sd = {
        name: float(np.sqrt((weight * (v - mean[name]) ** 2).sum())) for name, v in values.items()
    }
    return Truth(mean, sd)


class Small(NamedTuple):
    """The model, its data, and what is known of its posterior."""

    model: Callable[..., None]
    y: Any
    truth: Callable[[Any], Truth]
    functions: dict[str, Callable[[Any, Any], Any]]


@pytest.fixture(scope="session")
def small() -> Small:
    return Small(model, Y, posterior, FUNCTIONS)


@pytest.fixture(scope="session")
def mcmc_of() -> Callable[..., MCMC]:
    def make(
        kernel: Any, *, num_chains: int = 4, method: Any = "vectorized", **lengths: Any
    ) -> MCMC:
        lengths = {"num_warmup": 100, "num_samples": 100, **lengths}
        return MCMC(
            kernel, num_chains=num_chains, chain_method=method, progress_bar=False, **lengths
        )

    return make


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick_compilation: None) -> None:
    """Here nearly all of the time is compilation."""
