"""Numbers of the example on score matching."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("score_matching")


def test_losses_differ_by_constants(example: Example) -> None:
    names = example.names
    away = names["gap"] - names["expected_gap"]
    assert (np.abs(away) < 4.5 * names["gap_error"] + 1e-3).all()
    # the models are far from each other, in every loss
    assert names["gap_error"].max() < 0.1


def test_all_four_find_the_score(example: Example) -> None:
    error = example.names["error"]
    assert set(error) == {"explicit", "implicit", "sliced", "denoising"}
    assert example.names["untrained_error"] > 0.3
    for value in error.values():
        assert value < 0.08
    assert error["explicit"] == min(error.values())


def test_denoising_finds_the_score_of_noised_data(example: Example) -> None:
    names = example.names
    assert names["noised_error"] < 0.03
    assert names["noised_error"] < names["error"]["denoising"]
    # as far from the data's own score as the noise puts it
    ratio = names["error"]["denoising"] / names["noise_error"]
    assert 0.4 < ratio < 2.5


def test_only_the_trace_costs_more_with_the_dimension(example: Example) -> None:
    names = example.names
    dims, counts = names["dims"], names["operations"]
    implicit = counts["implicit"] / counts["denoising"]
    sliced = counts["sliced"] / counts["denoising"]
    growth = (implicit[-1] / implicit[0]) / (dims[-1] / dims[0])
    assert 0.3 < growth <= 1
    assert (sliced > 1.3).all()
    assert (sliced < 3).all()
    np.testing.assert_allclose(counts["explicit"] / counts["denoising"], 1, atol=0.1)
