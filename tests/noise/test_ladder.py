"""Ladders have the ends, the ratio and the number of levels that their rules say."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import norm

from numpyro_score.noise import (
    geometric_ladder,
    ladder_from_data,
    ladder_ratio,
    largest_distance,
)

pytestmark = pytest.mark.usefixtures("unchecked")


def test_geometric_ladder() -> None:
    sigmas = geometric_ladder(20.0, 1.0, 10)
    assert (sigmas[0], sigmas[-1], len(sigmas)) == (20.0, 1.0, 10)
    np.testing.assert_allclose(sigmas[:-1] / sigmas[1:], 20 ** (1 / 9))


@pytest.mark.parametrize("dim", [20, 64, 784, 3072])
def test_ratio_gives_half_the_overlap(dim: int) -> None:
    gamma = ladder_ratio(dim)
    middle = np.sqrt(2 * dim) * (gamma - 1)
    overlap = norm.cdf(middle + 3 * gamma) - norm.cdf(middle - 3 * gamma)
    np.testing.assert_allclose(overlap, 0.5, atol=1e-6)


def test_ratio_is_bounded_and_falls_with_dimension() -> None:
    ratios = [ladder_ratio(dim) for dim in (1, 2, 5, 20, 100, 1000)]
    assert ratios[:3] == [2.0, 2.0, 2.0]
    assert ratios[3] < 2
    assert (np.diff(ratios[2:]) < 0).all()


def test_published_ladder_of_cifar() -> None:
    """Song and Ermon 2020: 50 and .01 in 3,072 dimensions call for 232 levels."""
    levels = np.log(50 / 0.01) / np.log(ladder_ratio(3072)) + 1
    assert abs(levels / 232 - 1) < 0.1  # the rule says about a half


@pytest.mark.parametrize("shape", [(3, 1), (500, 2), (400, 30)])
def test_largest_distance_is_exact(shape: tuple[int, int]) -> None:
    for seed in range(5):
        data = np.random.default_rng(seed).standard_t(2, size=shape)
        np.testing.assert_allclose(largest_distance(data), pdist(data).max(), rtol=1e-6)


@pytest.mark.parametrize("direction", [[1.0], [1.0, 2.0, 3.0], [1.0, 0.0]])
@pytest.mark.parametrize("location", [0.0, 1e6])
def test_largest_distance_of_points_on_a_line(direction: list[float], location: float) -> None:
    # there the end opposite to the farthest point is as near the mean as an end can be, and
    # rounding alone decided whether it counted: in three of ten sets of draws it did not
    for seed in range(40):
        places = np.random.default_rng(seed).exponential(size=(200, 1))
        data = location + places * direction
        exact = np.ptp(places) * np.linalg.norm(direction)
        np.testing.assert_allclose(largest_distance(data), exact, rtol=1e-6)


def test_largest_distance_of_images() -> None:
    data = np.random.default_rng(0).normal(size=(50, 4, 5))
    np.testing.assert_allclose(largest_distance(data), pdist(data.reshape(50, -1)).max())
    with pytest.raises(ValueError, match="1 values that are not finite"):
        largest_distance(np.where(data == data[0, 0, 0], np.nan, data))


def test_ladder_from_data() -> None:
    data = np.random.default_rng(0).normal(size=(300, 4, 5))  # an event of any shape
    ladder = ladder_from_data(data, sigma_min=0.05)
    np.testing.assert_allclose(ladder.sigmas[0], pdist(data.reshape(300, -1)).max())
    np.testing.assert_allclose(ladder.sigmas[-1], 0.05)
    assert 1 < ladder.ratio <= ladder_ratio(20)
    # one level fewer would be too few
    fewer = (ladder.sigmas[0] / 0.05) ** (1 / (len(ladder.sigmas) - 2))
    assert fewer > ladder_ratio(20)
    assert len(ladder_from_data(data, num_levels=7).sigmas) == 7
    np.testing.assert_allclose(ladder_from_data(data).sigmas[-1], 0.01, rtol=0.02)


def test_bad_ladders_are_refused() -> None:
    for ends in [(1.0, 1.0), (0.5, 1.0), (1.0, 0.0), (np.inf, 1.0)]:
        with pytest.raises(ValueError, match="0 < sigma_min < sigma_max is needed"):
            geometric_ladder(*ends, 5)
    with pytest.raises(ValueError, match="at least 2 levels"):
        geometric_ladder(2.0, 1.0, 1)
    with pytest.raises(ValueError, match="dim is 0"):
        ladder_ratio(0)
    for data in (np.zeros((0, 2)), np.zeros((1, 2)), np.zeros(5)):
        with pytest.raises(ValueError, match="at least two points"):
            ladder_from_data(data)
    with pytest.raises(ValueError, match="all data points are equal"):
        ladder_from_data(np.ones((5, 2)))
    with pytest.raises(ValueError, match="1 values that are not finite"):
        ladder_from_data(np.array([[0.0, 1.0], [np.nan, 2.0]]))
    with pytest.raises(ValueError, match="sigma_min = 100"):
        ladder_from_data(np.eye(3), sigma_min=100.0)
