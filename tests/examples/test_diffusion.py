"""Numbers of the example on noising and its reverse."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("diffusion")


# Kolmogorov's statistic times sqrt(n) is above 2.3 with a probability of 5e-5
CHANCE = 2.3


def test_both_directions_have_the_distributions_at_their_times(example: Example) -> None:
    distances = np.array(example.names["distances"])
    assert distances.shape == (4, 2)
    assert (distances * np.sqrt(example.names["NUM"]) < CHANCE).all()


def test_another_distribution_is_detected(example: Example) -> None:
    names = example.names
    moved = names["backwards"][-1] + 0.15
    assert names["distance"](moved, names["ou"], 0.0) * np.sqrt(names["NUM"]) > 1.5 * CHANCE


def test_ddpm_becomes_the_equation(example: Example) -> None:
    gaps = example.names["gaps"]
    assert gaps[100] / gaps[1000] == pytest.approx(10, rel=0.2)


def test_every_way_back_finds_the_distribution(example: Example) -> None:
    names = example.names
    error = np.sqrt(0.3 * 0.7 / names["NUM"])
    calls = {name: found[0] for name, found in names["back"].items()}
    assert list(calls.values()) == sorted(calls.values(), reverse=True)
    for name, (_, weight, distance) in names["back"].items():
        assert abs(weight - 0.7) < 4.5 * error + 0.005, name  # the start is N(0, 1) but nearly
        assert distance * np.sqrt(names["NUM"]) < 1.3 * CHANCE, name
