"""Modes between which chains do not jump are told from slow chains, jumps and outliers."""

import numpy as np
import pytest
from scipy.signal import lfilter

from numpyro_score.run.forecast import Seen
from numpyro_score.run.several_modes import num_separate, several_modes

NUM_CHAINS, NUM_DRAWS = 16, 100
NOISE = np.random.default_rng(0).normal(size=(NUM_CHAINS, NUM_DRAWS, 3))


def seen(draws: np.ndarray, ess: float) -> Seen:
    samples = {"x": draws.astype(np.float32), "k": np.ones(draws.shape[:2], int)}
    return Seen(samples, NUM_CHAINS, NUM_DRAWS, ess, 100 * NUM_CHAINS, 4_000)


def test_chains_in_two_modes_are_told() -> None:
    """One chain in a mode of its own suffices, and one that never moved is none."""
    draws = NOISE.copy()
    draws[5:] += 9.0
    assert several_modes(seen(draws, 20.0)) == "chains stayed in 2 different modes"
    # where draws are effective there is time
    assert several_modes(seen(draws, 800.0)) == ""
    single = NOISE.copy()
    single[3] += 9.0
    assert several_modes(seen(single, 20.0))
    single[3] = 9.0
    assert several_modes(seen(single, 20.0)) == ""


def test_chains_that_jump_are_in_no_mode() -> None:
    side = np.random.default_rng(1).random((NUM_CHAINS, NUM_DRAWS, 1)) < 0.02
    draws = NOISE + 9.0 * (np.cumsum(side, axis=1) % 2)
    assert several_modes(seen(draws, 20.0)) == ""


@pytest.mark.parametrize("memory", [0.95, 0.99, 0.999])
def test_slow_chains_are_not_in_several_modes(memory: float) -> None:
    """Each stays in a part of one mode."""
    start = NOISE[:, :1] / np.sqrt(1 - memory**2)
    draws = lfilter([1.0], [1.0, -memory], np.concatenate([start, NOISE[:, 1:]], axis=1), axis=1)
    assert num_separate({"x": draws}) == 1


def test_short_chains_that_ended_elsewhere_are_told() -> None:
    enough = seen(NOISE, 1_600.0)
    assert several_modes(enough) == ""
    assert several_modes(enough._replace(num_elsewhere=1)) == ""
    assert several_modes(enough._replace(num_elsewhere=2)).startswith("2 short chains")
