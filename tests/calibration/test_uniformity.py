"""The test of uniformity: its false-alarm rate, its power, and its band."""

import numpy as np
import pytest
from arviz_stats.ecdf_utils import ecdf_pit
from scipy import stats

from numpyro_score.calibration.uniformity import band, p_value

NUM = 200


@pytest.mark.parametrize("num", [NUM, 1000])
def test_uniform_values_are_found_off_as_often_as_is_said(num: int) -> None:
    rng = np.random.default_rng(1)
    found = np.array([p_value(rng.uniform(size=num)) for _ in range(1000)])
    for alpha in (0.05, 0.2):
        error = np.sqrt(alpha * (1 - alpha) / len(found))
        assert abs((found < alpha).mean() - alpha) < 4 * error


def test_ranks_of_too_narrow_posteriors_are_found() -> None:
    rng = np.random.default_rng(2)
    found = [p_value(stats.norm.cdf(1.25 * rng.normal(size=500))) for _ in range(20)]
    assert sum(p < 0.05 for p in found) >= 19


def test_the_band_is_that_of_arviz_and_of_the_test() -> None:
    z, lower, upper = band(NUM, 0.95)
    values = np.random.default_rng(3).uniform(size=NUM)
    _, _, low, high = ecdf_pit(values, 0.95, 2000)
    # both are simulated, and counts are whole
    assert np.abs(low[1:-1] - lower).max() <= 2 / NUM
    assert np.abs(high[1:-1] - upper).max() <= 2 / NUM
    rng = np.random.default_rng(4)
    for _ in range(200):
        values = np.sort(rng.uniform(size=NUM))
        ecdf = np.searchsorted(values, z, side="right") / NUM
        is_inside = bool(((ecdf >= lower) & (ecdf <= upper)).all())
        p = p_value(values)
        assert is_inside == (p >= 0.05) or abs(p - 0.05) < 1e-3
