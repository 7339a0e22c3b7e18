"""Numbers of the example on temperature."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("annealing")


def test_without_noise_every_start_climbs_to_its_mode(example: Example) -> None:
    names = example.names
    assert names["climb_error"] < 1e-4
    assert names["descents"] == 0
    # both sides are there
    assert len(np.unique(names["nearest"])) == 2
    assert names["left"] < names["valley"] < names["right"]


def test_gibbs_measures_keep_their_bound(example: Example) -> None:
    names = example.names
    assert names["f_min"] == pytest.approx(1)
    assert names["f"].argmin() == np.abs(names["x"] - 1.5).argmin()
    assert (names["probability"] <= names["bound"]).all()
    assert (np.diff(names["probability"], axis=1) < 0).all()
    assert (names["left_over"] <= names["delta"]).all()
    # without the factor n it is no bound
    assert (names["probability"] > names["bound"] / names["n"]).any()


def test_chains_end_with_their_exact_distribution(example: Example) -> None:
    names = example.names
    np.testing.assert_allclose(names["exact"].sum(1), 1)
    away = (names["share"] - names["exact_share"]) / names["share_error"]
    assert np.abs(away).max() < 4.5
    # places along all of the grid, bin by bin
    for place, shares in zip(names["places"], names["exact"], strict=True):
        counts = np.bincount(place // 20, minlength=11) / names["NUM_CHAINS"]
        mass = np.add.reduceat(shares, np.arange(0, names["n"], 20))
        error = np.sqrt(mass * (1 - mass) / names["NUM_CHAINS"])
        assert (np.abs(counts - mass) < 5 * error + 2 / names["NUM_CHAINS"]).all()


def test_slow_annealing_finds_the_minimum(example: Example) -> None:
    share = dict(zip(example.names["schedules"], example.names["exact_share"], strict=True))
    quench, cold, hot, *falling = share.values()
    assert falling == sorted(falling)
    assert falling[-1] > 3 * quench
    assert falling[-1] > 3 * cold
    assert falling[-1] > 1.5 * hot
