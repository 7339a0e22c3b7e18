"""Distances between samples, against scipy, scikit-learn and known distributions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel

from numpyro_score.diagnostics.discrepancy.bootstrap import cut, join
from numpyro_score.diagnostics.discrepancy.by_reference import by_reference
from numpyro_score.diagnostics.discrepancy.classifier import c2st
from numpyro_score.diagnostics.discrepancy.mmd import median_distance, mmd, moments_kernel
from numpyro_score.diagnostics.discrepancy.sinkhorn import sinkhorn_w2
from numpyro_score.diagnostics.discrepancy.sliced import (
    between_halves,
    kolmogorov_smirnov_along,
    lines,
    wasserstein_along,
)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_kolmogorov_smirnov_is_scipys():
    x, y = normal(0, 300, 3), np.round(normal(1, 170, 3), 1)  # with ties
    expected = np.mean([stats.ks_2samp(a, b).statistic for a, b in zip(x.T, y.T, strict=True)])
    np.testing.assert_allclose(kolmogorov_smirnov_along(x, y), expected, rtol=1e-12)


def test_wasserstein_is_the_best_matching():
    x, y = normal(2, 60, 1), 1 + 2 * normal(3, 60, 1)
    cost = cdist(x, y, "sqeuclidean")
    best = np.sqrt(cost[linear_sum_assignment(cost)].mean())
    np.testing.assert_allclose(wasserstein_along(x, y), best, rtol=1e-9)
    # samples of different sizes: each draw as often as makes them equal
    np.testing.assert_allclose(
        wasserstein_along(x, y[:40]),
        wasserstein_along(np.repeat(x, 2, 0), np.repeat(y[:40], 3, 0)),
        rtol=1e-9,
    )


def test_a_shift_along_lines():
    """Of a shift by `a` the mean square along lines is `|a|^2 / dim`."""
    x, shift = normal(4, 200, 5), np.array([3.0, 0, 0, 0, 4.0])
    directions = np.linalg.qr(normal(5, 5, 5))[0]
    found = wasserstein_along(x @ directions, (x + shift) @ directions)
    np.testing.assert_allclose(found, 5 / np.sqrt(5), rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(lines(5, np.random.default_rng(0)), axis=0), 1.0)


@pytest.mark.parametrize("digits", [10, 1])
def test_halves_are_compared_as_samples_are(digits):
    pool = np.round(normal(6, 200, 3), digits)
    found = between_halves(pool, 5, np.random.default_rng(7))
    rng, is_first = np.random.default_rng(7), np.arange(200) < 100
    for wasserstein, ks in zip(*found, strict=True):
        half = rng.permutation(is_first)
        np.testing.assert_allclose(ks, kolmogorov_smirnov_along(pool[half], pool[~half]))
        np.testing.assert_allclose(wasserstein, wasserstein_along(pool[half], pool[~half]))


def test_sinkhorn_is_near_the_best_matching():
    for dim in (1, 3):
        x, y = normal(8, 256, dim), 1 + 1.5 * normal(9, 256, dim)
        cost = cdist(x, y, "sqeuclidean")
        best = np.sqrt(cost[linear_sum_assignment(cost)].mean())
        assert abs(sinkhorn_w2(x, y) / best - 1) < 0.05


def test_mmd_is_its_definition(x64):
    x, y = normal(10, 90, 2), 0.5 + normal(11, 70, 2)
    h = median_distance(y)
    found = mmd(x, y, join(cut(2, 45, 1.0), cut(1, 70, 1.0)), np.random.default_rng(0))
    xx, yy, xy = (rbf_kernel(a, b, 1 / (2 * h**2)) for a, b in ((x, x), (y, y), (x, y)))
    np.testing.assert_allclose(found.v, xx.mean() + yy.mean() - 2 * xy.mean(), rtol=1e-6)
    off = [(k.sum() - len(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    np.testing.assert_allclose(found.u, sum(off) - 2 * xy.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.expected, (1 / 90 + 1 / 70) * (1 - off[1]), rtol=1e-6)


def test_mmd_of_moments_is_their_difference(x64):
    x, y = normal(12, 90, 2), normal(13, 70, 2)
    blocks = join(cut(1, 90, 1.0), cut(1, 70, 1.0))
    found = mmd(x, y, blocks, np.random.default_rng(0), of_moments=True)
    first = np.sum((x.mean(0) - y.mean(0)) ** 2) / 2
    second = np.sum((x.T @ x / 90 - y.T @ y / 70) ** 2) * 2 / (2 * 3)
    np.testing.assert_allclose(found.v, first + second, rtol=1e-6)
    kernel = moments_kernel(jnp.asarray(x), jnp.asarray(y), jnp.array(1.0))
    assert kernel.shape == (90, 70)


def test_p_values_of_mmd(ar1):
    """Autocorrelated draws of the reference itself: small ones are as rare as they should be."""
    rng = np.random.default_rng(14)
    p_values = []
    for _ in range(20):
        x = ar1(rng, 0.8, (4, 300)).reshape(-1, 1)
        y = rng.normal(size=(500, 1))
        p_values.append(mmd(x, y, join(cut(4, 300, 9.0), cut(1, 500, 1.0)), rng).p_value)
    assert np.mean(np.array(p_values) < 0.1) < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 20)


def test_the_best_classifier_there_is():
    """Unit Gaussians 1 apart are told apart with probability Phi(1/2)."""
    x, y = normal(15, 4000, 1), 1 + normal(16, 4000, 1)
    accuracy = c2st(x, y, classifier=LogisticRegression())
    assert abs(accuracy - stats.norm.cdf(0.5)) < 4 * np.sqrt(0.69 * 0.31 / 8000)


def test_a_classifier_of_chance_has_the_floor():
    found = [c2st(*normal(seed, 2, 200, 2)) for seed in range(10)]
    # guesses of two classifiers trained on each other's test draws: a little below chance
    assert abs(np.mean(found) - 0.5) < 4 * 0.5 / np.sqrt(10 * 400) + 0.02


def test_every_measure_against_draws_of_one_distribution_and_another():
    x, y = normal(17, 4, 300, 2), normal(18, 3000, 2)
    same = by_reference(x, y, 1.0, np.random.default_rng(0))
    other = by_reference(x + 0.5, y, 1.0, np.random.default_rng(0))
    for name, row in same.items():
        assert row.reason == ""
        spread = row.floor if np.isnan(row.floor_sd) else 4 * row.floor_sd
        assert row.value < row.floor + spread, name
        assert other[name].value > 1.02 * row.floor, name
        if name != "sinkhorn_w2":
            assert row.p_value > 1e-3 > other[name].p_value, name


def test_units_of_the_reference():
    x, y = normal(19, 4, 100, 2), normal(20, 600, 2)
    scale = np.array([1e-3, 1e5])
    one, other = (
        by_reference(a, b, 1.0, np.random.default_rng(0))
        for a, b in ((x, y), (x * scale, y * scale))
    )
    for name in ("mmd", "sliced_wasserstein", "sinkhorn_w2"):
        np.testing.assert_allclose(one[name].value, other[name].value, rtol=1e-3)


def test_too_few_draws_are_said():
    rows = by_reference(normal(21, 2, 5, 1), normal(22, 100, 1), 1.0, np.random.default_rng(0))
    assert rows["mmd"].reason == ""
    assert "10 independent draws" in rows["c2st"].reason
