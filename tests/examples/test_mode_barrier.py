"""Numbers of the example on waiting times."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("mode_barrier")


def test_langevin_waits_as_the_spectrum_says(example: Example) -> None:
    _, _, _, found, exactly, *_ = example.names["table"].T
    # short steps are the diffusion, but for a few hundredths of its clock
    assert (np.abs(found - exactly) < 4.5 * example.names["error"] + 0.02).all()


def test_waiting_grows_exponentially(example: Example) -> None:
    distance, wait, *_ = example.names["table"].T
    assert (np.diff(wait) > 0).all()
    growth = np.log(wait[-1] / wait[0]) / (distance[-1] ** 2 - distance[0] ** 2)
    assert 0.25 < growth < 0.5  # exp(a^2 / 2), times a power of a


def test_localization_does_not_wait(example: Example) -> None:
    *_, num_steps, _, _, num_times, share, truth = example.names["table"].T
    assert (np.abs(share - truth) < 4.5 * example.names["error"]).all()
    assert num_steps[-1] > 10 * num_times[-1]


def test_one_mode_has_the_waiting_time_of_a_gaussian(example: Example) -> None:
    """Two bells at one place are N(0, 1), whose rate is 1."""
    assert example.names["spectrum"](1e-6)[0] == pytest.approx(1, rel=2e-3)
