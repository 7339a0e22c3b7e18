"""Mixtures in one dimension: densities between and beyond modes, for any weights of the points."""

import numpy as np
from scipy.stats import norm

from numpyro_score.learned.marginals import WIDE_WEIGHT, Marginals, fit_marginals

NUM = 8000


def density(found: Marginals, x: np.ndarray) -> np.ndarray:
    """Of the first coordinate."""
    parts = (part[:, 0] for part in found)
    return sum(w * norm.pdf(x, mean, sd) for w, mean, sd in zip(*parts, strict=True))


def two_modes(share: float, away: float = 10.0) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(NUM, 1))
    return x + np.where(np.arange(NUM) < share * NUM, 0.0, away)[:, None]


def test_a_gap_between_modes_stays_empty() -> None:
    """But for the wide component, which is proposed to be on the safe side."""
    x = two_modes(0.77)
    found = fit_marginals(x, np.full(NUM, 1 / NUM))
    gap = np.linspace(4.5, 5.5, 101)
    assert np.trapezoid(density(found, gap), gap) < 2 * WIDE_WEIGHT / x.std()
    assert density(found, gap).min() > 0.3 * WIDE_WEIGHT / x.std()
    np.testing.assert_allclose(found.weights.sum(axis=0), 1.0)


def test_a_skewed_coordinate_is_followed_by_weighted_points() -> None:
    """Half a Gaussian, from points of a whole one that is wider."""
    rng = np.random.default_rng(1)
    x = 1.5 * rng.normal(size=(NUM, 1))
    log_weights = np.where(x[:, 0] > -0.5, -0.5 * x[:, 0] ** 2, -8 * x[:, 0] ** 2 + 1.875)
    weights = np.exp(log_weights + x[:, 0] ** 2 / 4.5)
    found = fit_marginals(x, weights / weights.sum())
    grid = np.linspace(-3.0, 5.0, 2001)
    true = np.exp(np.where(grid > -0.5, -0.5 * grid**2, -8 * grid**2 + 1.875))
    true /= np.trapezoid(true, grid)
    ratio = true**2 / density(found, grid)
    # of a Gaussian with the same moments .15
    assert np.trapezoid(ratio, grid) - 1 < 0.03


def test_a_fit_goes_on_from_where_it_was() -> None:
    x, equal = two_modes(0.5), np.full(NUM, 1 / NUM)
    first = fit_marginals(x, equal)
    weights = np.where(x[:, 0] < 5, 0.8, 0.2) / (NUM / 2)
    found = fit_marginals(x, weights / weights.sum(), first)
    assert abs(found.weights[found.means < 5].sum() - 0.8) < 0.02
