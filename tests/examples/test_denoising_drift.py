"""Numbers of the example on what a score knows."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("denoising_drift")


def test_the_density_comes_back_from_its_score(example: Example) -> None:
    error = example.names["density_error"]
    assert error[-1] < 1e-4
    # the trapezoid rule is of second order
    np.testing.assert_allclose(error[:-1] / error[1:], 4, rtol=0.2)
    assert np.ptp(example.names["constant"]) < 2e-3
    assert example.names["left_weight"][-1] == pytest.approx(0.6, abs=1e-4)


def test_the_pull_is_small_in_every_dimension(example: Example) -> None:
    names = example.names
    assert list(names["pulls"]) == [2, 20, 784]
    assert names["expected_pull"] == pytest.approx(4e-4, rel=0.01)
    for row in names["pulls"].values():
        assert row["of_the_way"] == pytest.approx(names["expected_pull"], rel=0.01)
        assert row["relative"] < 3e-3
        assert row["to_noise"] < 0.05
        # float32 keeps seven digits of a point, and fewer of so small a difference
        assert 1e-6 < row["rounding"] < 1e-3


def test_less_of_it_tells_of_the_modes_the_more_dimensions(example: Example) -> None:
    names = example.names
    along = [row["along"] for row in names["pulls"].values()]
    assert along == sorted(along, reverse=True)
    # of a squared length of dim + 9, all but the first axis is noise to be shrunk
    assert along[-1] < 2 * (names["HALF"] ** 2 + 1) / 784


def test_a_thousand_steps_keep_most_of_the_start(example: Example) -> None:
    names = example.names
    for row in names["pulls"].values():
        assert abs(row["kept"] - names["expected_kept"]) < 4.5 * row["kept_error"]
        error = np.sqrt(0.25 / names["NUM_CHAINS"])
        assert abs(row["big_mode"] - 0.5) < 4.5 * error
    assert names["expected_kept"] > 0.8
