"""Numbers of the example on three obstacles."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("obstacles")


def test_noise_bounds_the_score_of_data_on_a_line(example: Example) -> None:
    names = example.names
    found, expected = names["lengths"], names["expected_lengths"]
    for column, exact in zip((0, 2), expected.T, strict=True):
        assert (np.abs(found[:, column] - exact) < 4.5 * found[:, column + 1] + 1e-3 * exact).all()
    assert found[-1, 0] > 1e7
    assert found[:, 2].max() < 1 + 1 / names["NOISE_SD"] ** 2 + 4.5 * found[-1, 3]


def test_without_noise_the_loss_has_no_minimum(example: Example) -> None:
    names = example.names
    assert (np.diff(names["loss_on_line"]) < 0).all()
    assert names["stiffness"][names["loss_off_line"].argmin()] == pytest.approx(1e4)


def test_a_score_is_learned_only_where_there_are_data(example: Example) -> None:
    names = example.names
    assert names["static_near"] < 0.05
    assert names["static_far"] > 0.1
    assert names["static_far"] > 10 * names["static_near"]


def test_langevin_ignores_weights_and_annealing_does_not(example: Example) -> None:
    names = example.names
    error = 0.5 / np.sqrt(names["NUM_DRAWS"])
    assert (np.abs(names["langevin_share"] - 0.5) < 4.5 * error + 0.03).all()
    # annealed Langevin has a small bias of its own, towards one half
    assert (np.abs(names["annealed_share"] - names["WEIGHTS"]) < 4.5 * error).all()


def test_the_noise_conditional_network_has_no_such_obstacle(example: Example) -> None:
    names = example.names
    assert (names["level_error"][:2] < 0.02).all()
    assert abs(names["learned_share"] - 0.8) < 4.5 * names["share_error"] + 0.02
    assert names["learned_share"] - names["langevin_share"][1] > 0.2
    np.testing.assert_allclose(np.abs(names["learned_mean"]), 5, atol=0.4)
    np.testing.assert_allclose(names["learned_sd"], 1, atol=0.25)
