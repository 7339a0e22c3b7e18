"""Modes between which chains do not jump are told from slow chains, jumps and lesser modes."""

from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from numpyro_score.run.density import Positions
from numpyro_score.run.forecast import Seen
from numpyro_score.run.several_modes import num_separate, several_modes

NUM_CHAINS, NUM_DRAWS, DIM = 16, 100, 3
NOISE = np.random.default_rng(0).normal(size=(NUM_CHAINS, NUM_DRAWS, DIM))
HEIGHT = -0.5 * (NOISE**2).sum(axis=-1)


class Density:
    """Stands in for that of a run."""

    def __init__(self, height: np.ndarray, num_elements: int = 100) -> None:
        self.height, self.num_elements = height, num_elements

    def positions(self, samples: dict[str, np.ndarray], num_draws: int) -> Positions:
        assert num_draws * NUM_CHAINS <= 5_000
        return Positions(samples["x"], self.height)


def seen(points: np.ndarray, ess: float, height: np.ndarray = HEIGHT) -> Seen:
    density: Any = Density(height)
    wanted = 100 * NUM_CHAINS
    samples = {"x": points}
    return Seen(samples, NUM_CHAINS, NUM_DRAWS, ess, wanted, 4_000, density=density)


def test_chains_in_two_modes_are_told() -> None:
    """One chain in a mode of its own suffices, and one that never moved is none."""
    points = NOISE.copy()
    points[5:] += 9.0
    assert several_modes(seen(points, 20.0)) == "chains stayed in 2 different modes"
    # where draws are effective there is time
    assert several_modes(seen(points, 800.0)) == ""
    assert several_modes(seen(points, 20.0)._replace(density=None)) == ""
    dear: Any = Density(HEIGHT, 3_000_000)
    assert several_modes(seen(points, 20.0)._replace(density=dear)) == ""
    single = NOISE.copy()
    single[3] += 9.0
    assert several_modes(seen(single, 20.0))
    single[3] = 9.0
    assert several_modes(seen(single, 20.0)) == ""


@pytest.mark.parametrize(("scale", "lower", "num_modes"), [(1, 11, 2), (1, 13, 1), (9, 13, 2)])
def test_modes_of_far_less_mass_do_not_count(scale: float, lower: float, num_modes: int) -> None:
    """A mode that is lower may be wider: 3 log 9 = 6.6."""
    points, height = NOISE.copy(), HEIGHT.copy()
    points[5:] = 99.0 + scale * NOISE[5:]
    height[5:] -= lower
    assert num_separate(Positions(points, height)) == num_modes


def test_chains_that_jump_are_in_no_mode() -> None:
    side = np.random.default_rng(1).random((NUM_CHAINS, NUM_DRAWS, 1)) < 0.02
    assert several_modes(seen(NOISE + 9.0 * (np.cumsum(side, axis=1) % 2), 20.0)) == ""


@pytest.mark.parametrize("memory", [0.95, 0.99, 0.999])
def test_slow_chains_are_not_in_several_modes(memory: float) -> None:
    """Each stays in a part of one mode."""
    start = NOISE[:, :1] / np.sqrt(1 - memory**2)
    points = lfilter([1.0], [1.0, -memory], np.concatenate([start, NOISE[:, 1:]], axis=1), axis=1)
    assert num_separate(Positions(points, HEIGHT)) == 1


def test_a_look_that_fails_costs_no_draws() -> None:
    with pytest.warns(UserWarning, match=r"was not looked at.*the run goes on"):
        assert several_modes(seen(NOISE, 20.0)._replace(samples={})) == ""


def test_short_chains_that_ended_elsewhere_are_told() -> None:
    enough = seen(NOISE, 1_600.0)
    assert several_modes(enough) == ""
    assert several_modes(enough._replace(num_elsewhere=1)) == ""
    assert several_modes(enough._replace(num_elsewhere=2)).startswith("2 short chains")
    dear: Any = Density(HEIGHT, 3_000_000)
    assert several_modes(enough._replace(num_elsewhere=2, density=dear)) == ""
