"""Clusters of particles: how many, of what."""

import numpy as np

from numpyro_score.learned.regions import find_regions


def test_one_gaussian_of_few_dimensions_is_few_regions() -> None:
    """With a density from five points, HDBSCAN finds more than sixty."""
    for dim, most in ((1, 60), (2, 10), (3, 10)):
        x = np.random.default_rng(0).normal(size=(2048, dim))
        logdensity = -0.5 * (x**2).sum(axis=1)
        assert find_regions(x, logdensity, -x).num < most


def test_a_mode_of_few_points_is_a_region() -> None:
    rng, few = np.random.default_rng(0), 10
    center = np.where(np.arange(2048)[:, None] < few, 8.0, 0.0)
    x = rng.normal(size=(2048, 20)) + center
    found = find_regions(x, -0.5 * (x**2).sum(axis=1), center - x)
    away = np.abs(np.asarray(found.mixture.means) - 8.0).max(axis=1)
    assert away[: found.num].min() < 2
