"""Expectation-maximisation: as far as points held out gain, and no further."""

import numpy as np

from numpyro_score.learned.components import Components, refit
from numpyro_score.learned.em import fit_components


def excess(found: Components, x: np.ndarray, truth: Components) -> float:
    """Kullback-Leibler divergence of the truth from what was found."""
    return float((truth.share_out(x)[0] - found.share_out(x)[0]).mean())


def draws(truth: Components, num: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    which = rng.choice(len(truth.weights), num, p=truth.weights)
    z = rng.normal(size=(num, truth.means.shape[1]))
    return truth.means[which] + np.einsum("nij,nj->ni", truth.factors[which], z)


def test_overlapping_components_come_apart() -> None:
    """Which one step does not reach; weights say as much as numbers of points."""
    truth = Components(
        np.array([0.5, 0.3, 0.2]),
        np.array([[0.0, 0.0], [2.5, 0.0], [0.0, 2.5]]),
        np.stack([np.eye(2)] * 3),
    )
    even = truth._replace(weights=np.full(3, 1 / 3))
    x, fresh = draws(even, 6000), draws(truth, 4000)
    log_weights = truth.share_out(x)[0] - even.share_out(x)[0]
    weights = np.exp(log_weights) / np.exp(log_weights).sum()
    begin = even._replace(means=np.array([[0.8, 0.8], [1.0, 0.7], [0.7, 1.0]]))
    once = refit(begin, x, weights, begin.share_out(x)[1], 10)
    found = fit_components(begin, x, weights, 10)
    assert excess(found, fresh, truth) < 0.25 * excess(once, fresh, truth)


def test_noise_of_few_points_is_not_fitted() -> None:
    """Six components for what is one Gaussian in 20 dimensions."""
    dim, num = 20, 1000
    root = np.linalg.cholesky(0.8 * np.ones((dim, dim)) + 0.2 * np.eye(dim))
    truth = Components(np.ones(1), np.zeros((1, dim)), root[None])
    rng = np.random.default_rng(1)
    x, weights = draws(truth, num), np.full(num, 1 / num)
    means = 0.5 * rng.normal(size=(6, dim)) @ root.T
    begin = Components(np.full(6, 1 / 6), means, np.stack([root] * 6))
    found = fit_components(begin, x, weights, 2 * dim)
    further = found
    for _ in range(20):
        further = refit(further, x, weights, further.share_out(x)[1], 2 * dim)
    fresh = rng.normal(size=(4000, dim)) @ root.T
    # measured: .63 at the beginning, .21, and .70 after twenty steps
    assert excess(found, fresh, truth) < 0.5 * excess(further, fresh, truth)
    assert excess(found, fresh, truth) < 0.5 * excess(begin, fresh, truth)


def test_weight_at_held_out_points_alone_changes_nothing() -> None:
    begin = Components(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    assert fit_components(begin, np.ones((8, 2)), np.eye(8)[0], 2) is begin
