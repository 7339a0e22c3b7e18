"""Oracles that the tests of scores share, under strict broadcasting."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from numpyro_score.noise import VE, VP, SubVP
from numpyro_score.scores import GaussianMixtureScore

# signal that stays, variance that stays, and neither
PROCESSES = {"ve": VE(sigma_min=0.05, sigma_max=20.0), "vp": VP(), "subvp": SubVP()}


@pytest.fixture(autouse=True)
def strict_broadcasting() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick_compilation: None) -> None:
    """Here nearly all of the time is compilation."""


@pytest.fixture(scope="session", params=PROCESSES)
def noise(request: Any) -> Any:
    return PROCESSES[request.param]


def full_mixture(noise: Any) -> GaussianMixtureScore:
    """Three components in three dimensions, covariances that differ and lie across the axes."""
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 3, 3))
    covariances = roots @ roots.swapaxes(1, 2) + 0.3 * np.eye(3)
    return GaussianMixtureScore([0.2, 0.3, 0.5], 3 * rng.normal(size=(3, 3)), covariances, noise)


@pytest.fixture(scope="session")
def mixture(noise: Any) -> GaussianMixtureScore:
    return full_mixture(noise)
