"""What a network learns from a few thousand draws, measured against the exact score."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, largest_distance
from numpyro_score.scores import GaussianMixtureScore, ResidualMLP, ScoreNetwork


@pytest.fixture(scope="module")
def quick_compilation(fast_programs: None) -> None:
    """Here it is the program's speed that counts."""


def relative_fisher_error(model: Any, oracle: GaussianMixtureScore, sigmas: Any) -> Any:
    """`E|s - s*|^2 / E|s*|^2` under the noised distribution at each level."""
    noise = oracle.noise

    @jax.jit
    def error(rng_key: Any, t: Any) -> Any:
        key_data, key_noise = jax.random.split(rng_key)
        x0 = oracle.sample(key_data, 2000)
        x = noise.alpha(t) * x0 + noise.sigma(t) * jax.random.normal(key_noise, x0.shape)
        learned, exact = (jax.vmap(m, (0, None))(x, t) for m in (model, oracle))
        return jnp.sum((learned - exact) ** 2) / jnp.sum(exact**2)

    keys = jax.random.split(jax.random.key(99), len(sigmas))
    times = noise.time_of(jnp.asarray(sigmas))
    return np.array([error(key, t) for key, t in zip(keys, times, strict=True)])


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "bound"), [(2, 0.05), (10, 0.1)])
def test_four_modes_are_learned_with_the_defaults(dim: int, bound: float) -> None:
    """Weights .1 to .4, means uniform in [-8, 8]^dim, sd 1; levels log-uniform from .05."""
    from numpyro_score.training import fit
    from numpyro_score.training.losses import ContinuousDenoising

    rng = np.random.default_rng(0)
    weights, means = [0.1, 0.2, 0.3, 0.4], rng.uniform(-8, 8, (4, dim))
    truth = GaussianMixtureScore(weights, means, 1.0, VE())
    data = np.asarray(truth.sample(jax.random.key(0), 5000))
    noise = VE(sigma_min=0.05, sigma_max=largest_distance(data))
    model = ScoreNetwork(ResidualMLP(dim, rng_key=jax.random.key(1)), noise, data)
    fitted = fit(model, data, ContinuousDenoising(), rng_key=jax.random.key(2), progress=False)
    oracle = GaussianMixtureScore(weights, means, 1.0, noise)
    sigmas = np.geomspace(0.05, noise.sigma_max, 20)
    errors = relative_fisher_error(fitted.model, oracle, sigmas)
    assert errors.mean() < bound, errors
    assert relative_fisher_error(model, oracle, sigmas).mean() > 0.3  # before training
