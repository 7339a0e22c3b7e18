"""What weighted points make of a mixture."""

import jax
import numpy as np
import pytest

from numpyro_score.learned.components import SPREAD, TAIL, Components, refit, split, with_tails

MEANS = np.array([[0.0, 0.0], [8.0, 8.0]])


def test_a_component_without_points_keeps_its_shape_and_some_weight() -> None:
    before = Components(np.full(2, 0.5), MEANS, np.stack([np.eye(2), 3 * np.eye(2)]))
    x = np.random.default_rng(0).normal(size=(100, 2))
    # nearly nothing is not enough to divide by
    members = np.stack([np.ones(100), np.full(100, 1e-12)], axis=1)
    after = refit(before, x, np.full(100, 0.01), members, 10)
    np.testing.assert_allclose(after.means[0], x.mean(axis=0))
    np.testing.assert_array_equal(after.means[1], before.means[1])
    np.testing.assert_array_equal(after.factors[1], before.factors[1])
    np.testing.assert_allclose(after.weights, [1 - SPREAD / 2, SPREAD / 2], rtol=1e-9)


def test_tails_are_wider_copies() -> None:
    one = Components(np.ones(1), np.ones((1, 4)), np.eye(4)[None])
    two = with_tails(one)
    np.testing.assert_allclose(two.weights, [1 - TAIL, TAIL])
    np.testing.assert_array_equal(two.means, np.ones((2, 4)))
    # in four dimensions 2.5 times the variance
    np.testing.assert_allclose(two.factors[1], np.sqrt(2.5) * np.eye(4))
    assert two.mixture.means.shape == (2, 4)


def test_halves_have_the_moments_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(2, 3, 3))
    covariances = roots @ roots.transpose(0, 2, 1)
    whole = Components(
        np.array([0.7, 0.3]), rng.normal(size=(2, 3)), np.linalg.cholesky(covariances)
    )
    halves = split(whole)
    for k in range(2):
        pair = [k, k + 2]
        assert halves.weights[pair].sum() == pytest.approx(whole.weights[k])
        means = halves.means[pair]
        assert abs(means[0] - means[1]).max() > 0
        np.testing.assert_allclose(means.mean(axis=0), whole.means[k])
        within = halves.factors[pair] @ halves.factors[pair].transpose(0, 2, 1)
        np.testing.assert_allclose(within.mean(axis=0) + np.cov(means.T, bias=True), covariances[k])


def test_points_are_shared_out_by_density() -> None:
    found = Components(np.array([0.9, 0.1]), MEANS, np.stack([np.eye(2), 3 * np.eye(2)]))
    x = np.array([[0.0, 0.0], [8.0, 8.0], [2.0, 1.0], [300.0, -300.0]])
    log_prob, members = found.share_out(x)
    density = jax.vmap(lambda x: jax.nn.logsumexp(found.mixture.component_log_probs(x)))(x)
    np.testing.assert_allclose(log_prob, density, rtol=1e-5)
    np.testing.assert_allclose(members.sum(axis=1), 1.0)
    assert members[0, 0] > 0.99
    assert members[1, 1] > 0.99
