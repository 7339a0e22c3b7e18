"""The analytic mixture that the tests of samplers draw from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP
from numpyro_score.scores import GaussianMixtureScore

WEIGHTS, MEANS, VARIANCES = [0.3, 0.7], ((-2.0, 1.0), (2.0, -1.0)), ((0.5, 1.0), (1.0, 0.3))
PROCESSES = {"ve": VE(sigma_min=0.01, sigma_max=40.0), "vp": VP()}


@pytest.fixture(scope="session", params=PROCESSES)
def noise(request: Any) -> Any:
    return PROCESSES[request.param]


def two_components(noise: Any) -> GaussianMixtureScore:
    return GaussianMixtureScore(WEIGHTS, MEANS, np.array(VARIANCES), noise)


@pytest.fixture(scope="session")
def mixture(noise: Any) -> GaussianMixtureScore:
    return two_components(noise)


@pytest.fixture(scope="session")
def largest_z() -> Callable[..., float]:
    """How many standard errors draws of the mixture are off: moments and mode weight, the worst."""

    def statistics(x: np.ndarray) -> np.ndarray:
        products = x[:, :, None] * x[:, None, :]
        right = (x[:, :1] > 0).astype(float)
        return np.concatenate([x, products.reshape(len(x), -1), right], axis=1)

    def worst(draws: np.ndarray, exact: np.ndarray) -> float:
        ours, theirs = (
            statistics(np.asarray(draws, np.float64)),
            statistics(np.asarray(exact, np.float64)),
        )
        error = np.sqrt(ours.var(axis=0) / len(ours) + theirs.var(axis=0) / len(theirs))
        return float(abs((ours.mean(axis=0) - theirs.mean(axis=0)) / error).max())

    return worst


@pytest.fixture(scope="session")
def exact_draws() -> np.ndarray:
    """Half a million draws of the mixture itself."""
    model = two_components(VP())
    return np.asarray(model.sample(jax.random.key(99), 500_000))


@pytest.fixture
def linear_score() -> Any:
    """The score of N(3, 1) data under VE noise of sd `sigma`."""
    return lambda x, sigma: -(x - 3.0) / (1.0 + jnp.square(sigma))
