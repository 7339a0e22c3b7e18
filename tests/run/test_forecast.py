"""Whether a kernel is given up, from the draws so far."""

import math

import numpy as np
import pytest

from numpyro_score.run.forecast import Seen, longest_stay, slow, stays


def seen(ess: float, num_draws: int = 100, wanted: int = 6_400, most: int = 4_000) -> Seen:
    """What 64 chains have come to."""
    return Seen({"x": np.zeros((64, num_draws))}, 64, num_draws, ess, wanted, most)


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        # as measured on eight schools and on a random walk with a gap
        (seen(462.0), ""),
        (seen(133.0), "only one draw in 48 was effective"),
        (seen(math.nan), "its first 100 draws of each chain have no effective sample size"),
        # not worth another warmup: the goal is near, or the end is
        (seen(133.0, wanted=1_000), ""),
        (seen(133.0, most=500), ""),
    ],
)
def test_a_kernel_is_slow_where_few_draws_are_effective(found: Seen, fault: str) -> None:
    assert slow(found) == fault


def test_few_draws_tell_nothing() -> None:
    early = Seen({"x": np.zeros((4, 100))}, 4, 100, 6.0, 400, 4_000)
    assert slow(early) == ""
    late = Seen({"x": np.zeros((4, 506))}, 4, 506, 30.0, 400, 4_000)
    assert slow(late) == "only one draw in 67 was effective"


def test_thinned_draws_stand_for_their_steps() -> None:
    """Thinning by ten leaves a tenth of the draws; what is said of the kernel is the same."""
    thinned = Seen({"x": np.zeros((64, 100))}, 64, 100, 1_330.0, 64_000, 400, 10)
    assert slow(thinned) == "only one step in 48 was effective"
    assert slow(thinned._replace(ess=4_620.0)) == ""
    x = np.random.default_rng(1).normal(size=(4, 60, 3))
    x[2, 10:16] = x[2, 10]
    kept = Seen({"x": x}, 4, 60, 100.0, 10**6, 400, 10)
    assert "for 50 steps" in stays(kept)
    assert stays(kept._replace(thinning=1)) == ""


def test_a_long_goal_alone_is_no_reason() -> None:
    """Where a draw in four is effective nothing is slow, however many are wanted."""
    assert slow(seen(1_600.0, wanted=10**6)) == ""


@pytest.mark.parametrize(
    ("stay", "num_draws", "wanted", "is_fault"),
    [
        (60, 400, 10**6, True),
        # chains that move; a goal within reach; too early to tell
        (30, 400, 10**6, False),
        (60, 400, 500, False),
        (60, 200, 10**6, False),
    ],
)
def test_a_chain_stays_and_the_goal_is_out_of_reach(
    stay: int, num_draws: int, wanted: int, is_fault: bool
) -> None:
    x = np.random.default_rng(1).normal(size=(4, num_draws, 3))
    x[2, 50 : 50 + stay] = x[2, 50]
    fault = stays(Seen({"x": x}, 4, num_draws, 1_000.0, wanted, 800))
    assert bool(fault) == is_fault
    # as many moves as there are draws between the first of them and the last
    assert not is_fault or f"for {stay - 1} draws" in fault


def test_the_longest_stay_is_that_of_all_variables_together() -> None:
    x = np.array([[1.0, 2.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert longest_stay({"x": x}) == 2
    y = np.array([[0.0, 0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert longest_stay({"x": x, "y": y}) == 1
