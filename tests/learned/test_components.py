"""What weighted points make of a mixture."""

import numpy as np

from numpyro_score.learned.components import SPREAD, TAIL, Components, refit, with_tails

MEANS = np.array([[0.0, 0.0], [8.0, 8.0]])


def test_a_component_without_points_keeps_its_shape_and_some_weight() -> None:
    before = Components(np.full(2, 0.5), MEANS, np.stack([np.eye(2), 3 * np.eye(2)]))
    x = np.random.default_rng(0).normal(size=(100, 2))
    members = np.stack([np.ones(100), np.zeros(100)], axis=1)
    after = refit(before, x, np.full(100, 0.01), members, 10)
    np.testing.assert_allclose(after.means[0], x.mean(axis=0))
    np.testing.assert_array_equal(after.means[1], before.means[1])
    np.testing.assert_array_equal(after.factors[1], before.factors[1])
    np.testing.assert_allclose(after.weights, [1 - SPREAD / 2, SPREAD / 2])


def test_tails_are_wider_copies() -> None:
    one = Components(np.ones(1), np.ones((1, 4)), np.eye(4)[None])
    two = with_tails(one)
    np.testing.assert_allclose(two.weights, [1 - TAIL, TAIL])
    np.testing.assert_array_equal(two.means, np.ones((2, 4)))
    # in four dimensions 2.5 times the variance
    np.testing.assert_allclose(two.factors[1], np.sqrt(2.5) * np.eye(4))
    assert two.mixture.means.shape == (2, 4)
