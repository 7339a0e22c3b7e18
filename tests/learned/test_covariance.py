"""Shrunken covariances: of equal weights scikit-learn's, of unequal ones those of the points."""

import numpy as np
from sklearn.covariance import LedoitWolf

from numpyro_score.learned.covariance import shrunken_covariance, shrunken_gaussian

RNG = np.random.default_rng(0)
ROOT = np.array([[1.0, 0.0, 0.0], [0.5, 0.3, 0.0], [-1.0, 0.2, 0.1]])


def test_equal_weights_give_ledoit_and_wolf() -> None:
    for num in (8, 500):
        x = 3.0 + RNG.normal(size=(num, 3)) @ ROOT.T
        mean, covariance = shrunken_covariance(x, np.full(num, 1 / num))
        np.testing.assert_allclose(mean, x.mean(axis=0))
        np.testing.assert_allclose(covariance, LedoitWolf().fit(x).covariance_, rtol=1e-9)


def test_weights_choose_among_points() -> None:
    """Of points of sd 2 those of N(0, 1): the weights are the ratio of the densities."""
    x = 2 * RNG.normal(size=(200_000, 2))
    weights = np.exp(-np.sum(x**2, axis=1) * (1 / 2 - 1 / 8))
    mean, covariance = shrunken_covariance(x, weights / weights.sum())
    np.testing.assert_allclose(mean, 0.0, atol=0.02)
    np.testing.assert_allclose(covariance, np.eye(2), atol=0.03)


def test_few_points_shrink_to_the_scale() -> None:
    scale = np.array([1.0, 100.0, 0.01])
    x = RNG.normal(size=(6, 3)) * scale
    mean, factor = shrunken_gaussian(x, np.full(6, 1 / 6), scale)
    assert mean.shape == (3,)
    sds = np.sqrt(np.diagonal(factor @ factor.T)) / scale
    assert sds.max() / sds.min() < 3
    # one point has no covariance, and still a factor
    _, factor = shrunken_gaussian(x[:1], np.ones(1), scale)
    assert np.isfinite(factor).all()
    assert (np.diagonal(factor) > 0).all()
