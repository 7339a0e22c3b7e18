"""Densities and models of known scores, on which losses and fits are judged without training."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest


class Mixture(NamedTuple):
    """`sum_k w_k N(m_k, sd^2 I)`, whose distribution with noise added is another."""

    weights: Any
    means: Any
    sd: float

    def draw(self, rng_key: Any, num: int) -> Any:
        key_mode, key_noise = jax.random.split(rng_key)
        mode = jax.random.categorical(key_mode, jnp.log(jnp.asarray(self.weights)), shape=(num,))
        means = jnp.asarray(self.means)[mode]
        return means + self.sd * jax.random.normal(key_noise, means.shape)

    def logdensity(self, x: Any, sigma: Any = 0.0) -> Any:
        away = jnp.sum((x - jnp.asarray(self.means)) ** 2, axis=-1)
        variance = self.sd**2 + sigma**2
        logits = jnp.log(jnp.asarray(self.weights)) - away / (2 * variance)
        return jax.nn.logsumexp(logits) - x.size / 2 * jnp.log(variance)

    def score(self, x: Any, sigma: Any = 0.0) -> Any:
        return jax.grad(self.logdensity)(x, sigma)


@pytest.fixture(scope="session")
def mixture() -> Mixture:
    """Three overlapping modes in the plane."""
    means = np.array([[-1.0, 0.0], [1.0, 0.5], [0.0, -1.5]])
    return Mixture(np.array([0.2, 0.5, 0.3]), means, 0.6)


@pytest.fixture(scope="session")
def models() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two wrong scores of points in the plane, neither of them linear."""
    one = Mixture(np.array([0.5, 0.5]), np.array([[-1.0, 0.0], [1.0, 0.0]]), 0.8)
    # no gradient of anything: its Jacobian is not symmetric
    twist = jnp.array([[-1.0, 0.5], [-0.2, -0.7]])
    return one.score, lambda x: twist @ x + 0.3 * jnp.sin(x)


@pytest.fixture(scope="session")
def child_env() -> dict[str, str]:
    """Environment of a process of its own, which keeps what it compiles where this one does."""
    folder = jax.config.jax_compilation_cache_dir
    if folder is None:
        return dict(os.environ)
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


class GaussianEnergy(eqx.Module):
    """`E = |x - mean|^2 / 2 sd^2`, whose log Z is known."""

    mean: Any
    log_sd: Any

    def energy(self, x: Any) -> Any:
        return jnp.sum((x - self.mean) ** 2) / (2 * jnp.exp(2 * self.log_sd))

    def __call__(self, x: Any) -> Any:
        return -jax.grad(self.energy)(x)


@pytest.fixture(scope="session")
def gaussian_energy() -> type[GaussianEnergy]:
    return GaussianEnergy
