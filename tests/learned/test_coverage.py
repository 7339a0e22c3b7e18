"""Particles show the tail, or the mode, that draws of a proposal do not meet."""

import numpy as np
import pytest

from numpyro_score.learned.coverage import HEAVY, covers, evidence_error, is_uncovered
from numpyro_score.learned.importance import quality


def log_relative(x: np.ndarray, sd: float) -> np.ndarray:
    """Of a standard normal target over a normal proposal."""
    return -(x**2) / 2 * (1 - 1 / sd**2) + np.log(sd)


def test_the_error_is_that_of_the_weights() -> None:
    """Of a proposal of sd .8: particles tell the variance of weights, `E_p[w] - 1`."""
    x, num = np.random.default_rng(0).normal(size=100_000), 10_000
    sd = 0.8
    expected = sd**2 / np.sqrt(2 * sd**2 - 1) - 1
    found = evidence_error(0.0, num, log_relative(x, sd))
    # the weights have a tail of index 1.8
    assert abs(found / np.sqrt(expected / num) - 1) < 0.1
    # what draws say counts if it is more
    assert evidence_error(0.5, num, log_relative(x, sd)) == 0.5


def test_what_is_not_covered_is_missing() -> None:
    relative = np.where(np.arange(1000) < 3, 50.0, 0.0)
    assert is_uncovered(relative).sum() == 3
    found = evidence_error(0.0, 10**9, relative)
    assert found == pytest.approx(0.003, rel=0.02)
    assert not is_uncovered(np.array([np.log(0.9 * HEAVY)])).any()


def test_nothing_is_covered_by_a_proposal_that_never_meets_the_target() -> None:
    assert evidence_error(np.inf, 100, np.full(10, np.inf)) == np.inf


def test_equal_weights_have_no_heavy_tail_in_single_precision() -> None:
    """Beside -1e6 they take five values, of which Pareto k makes nothing."""
    weights = 0.03 * np.random.default_rng(0).normal(size=16_384) - 1e6
    found = quality(weights.astype(np.float32).astype(float))
    assert found.pareto_k == np.inf
    assert not found.has_heavy_tail
    assert found._replace(ess_fraction=0.5).has_heavy_tail


def test_what_was_found_has_to_be_covered() -> None:
    which, none, masses = np.repeat([0, 1, 2], [900, 20, 80]), np.zeros(1000), np.zeros(1000)
    assert covers(none, none, which, masses)
    # most of a region of 20 points; a region of no weight; half of a region
    starts = none.copy()
    starts[900:915] = 10.0
    assert not covers(none, starts, which, masses)
    assert covers(none, starts, which, masses - 20)
    starts[905:915] = 0.0
    assert covers(none, starts, which, masses)
    # what lies outside of all regions is of lesser modes, unless there are particles
    assert covers(none, 10.0 * (which == 2), which, masses)
    assert not covers(10.0 * (which == 2), none, which, masses)
