"""What is said of a proposal, its evidence and the regions is what the numbers say."""

from typing import Any

import numpy as np
import pytest

from numpyro_score.learned import Fitted, quality
from numpyro_score.learned.evidence import Evidence, combine
from numpyro_score.learned.region_record import RegionRecord

SOUND = np.array([[500.0, 200, 5], [200, 100, 5], [100, 200, 4], [1100, 900, 0], [1120, 880, 0]])


ERROR = 0.02
"""Of shares of particles, of which a fifth counts."""


def fitted(
    counts: Any = SOUND, evidence: Evidence | None = None, share_error: float = ERROR
) -> Fitted:
    none: Any = None
    halves = counts[3:]
    errors = np.full(halves.shape, share_error)
    record = RegionRecord(counts[:3], halves.sum(axis=0) / halves.sum(), halves, errors)
    return Fitted(none, none, quality(np.zeros(1000)), (), 0, 0, {}, none, evidence, record)


def changed(row: int, column: int, value: float) -> Any:
    counts = SOUND.copy()
    counts[row, column] = value
    return counts


def test_sound_regions_are_not_doubted() -> None:
    assert fitted().problems() == []


def test_a_region_that_few_starts_led_to() -> None:
    counts = changed(0, 1, 0.0)
    counts[1:3, 1] = 3.0, 4.0
    (problem,) = fitted(counts).problems()
    assert "a region of weight 0.45 was found by 7 of" in problem
    # one of no weight does not matter, and what many chains found is sure
    assert fitted(changed(0, 1, 0.0)).problems() == []
    counts[3:, 1] = 10.0
    assert fitted(counts).problems() == []


def test_a_region_outside_of_the_reference() -> None:
    """Neither particles annealed from the reference nor chains from its draws found it."""
    counts = changed(0, 1, 0.0)
    counts[1, 1] = 0.0
    (problem,) = fitted(counts).problems()
    assert "weight 0.45 was found by chains from outside of the reference alone" in problem
    record = fitted(counts).regions
    assert record is not None
    assert record.num_one_sided == 1
    counts[1, 1] = 1.0
    assert fitted(counts).problems() == []


def test_a_small_cluster_within_a_mode_is_not_doubted() -> None:
    """It was found about as often as it weighs."""
    counts = np.array([[122.0, 3, 1], [63, 2, 0], [63, 2, 0], [250, 6, 0], [248, 8, 0]])
    assert fitted(counts).problems() == []


def test_an_exploration_from_few_starts() -> None:
    counts = np.array([[40.0, 24, 0], [15, 17, 0], [15, 17, 0], [70, 58, 0], [64, 64, 0]])
    (problem,) = fitted(counts).problems()
    assert "from 128 starts only: a mode that fewer than one in 12" in problem


def test_explorations_that_disagree() -> None:
    (problem,) = fitted(changed(4, 1, 300.0)).problems()
    assert "two independent explorations give a region the weights" in problem
    # .45 and .21
    assert fitted(changed(4, 1, 300.0), share_error=0.1).problems() == []


def draws(seed: int, sd: float = 0.3, num: int = 4000) -> Any:
    return quality(sd * np.random.default_rng(seed).normal(size=num) - sd**2 / 2)


@pytest.mark.parametrize("seed", range(20))
def test_evidence_of_estimates_that_agree(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    found = combine(draws(seed), 0.05 * rng.normal(size=2), np.full(2, 0.05))
    assert found.is_consistent
    own = draws(seed).log_evidence_error
    assert found.by_annealing is not None
    gap = found.by_proposal[0] - found.by_annealing[0]
    expected = np.hypot(own, found.by_annealing[1])
    # nothing is added that both errors explain, and no more than the estimates differ by
    np.testing.assert_allclose(
        found.error, np.sqrt(own**2 + max(gap**2 - 4 * expected**2, 0)), rtol=1e-6
    )
    assert abs(found.value) < 4.5 * found.error


def test_evidence_of_estimates_that_disagree() -> None:
    """A mode of weight .3 that the proposal does not have."""
    found = combine(draws(0), np.array([0.36, 0.34]), np.array([0.02, 0.02]))
    assert not found.is_consistent
    assert abs(found.value - 0.35) <= 1.1 * found.error
    (problem,) = fitted(evidence=found).problems()
    assert "0.350 +- 0.014 from annealing regions" in problem
    with pytest.warns(UserWarning, match="estimates of the log evidence disagree"):
        fitted(evidence=found).warn_if_poor()
    halves = combine(draws(0), np.array([0.3, -0.3]), np.array([0.02, 0.02]))
    assert not halves.is_consistent


def test_evidence_below_that_of_annealing_from_the_reference() -> None:
    """It may miss modes; what it found can be missing from all that came later."""
    later = np.array([0.01, -0.01]), np.full(2, 0.02)
    assert combine(draws(0), *later, (-0.7, 0.02)).is_consistent
    assert combine(draws(0), *later, (-np.inf, 0.0)).is_consistent
    found = combine(draws(0), *later, (0.3, 0.02))
    assert not found.is_consistent
    assert abs(found.value - 0.3) <= 1.1 * found.error
    assert combine(draws(0), *later, (0.3, 0.2)).is_consistent


def test_evidence_without_annealed_regions() -> None:
    """The proposal's own, unless annealing from the reference found more."""
    none = np.zeros(0)
    sound = combine(draws(0), none, none, (-0.7, 0.02))
    assert sound.is_consistent
    assert (sound.value, sound.error) == sound.by_proposal
    found = combine(draws(0), none, none, (0.3, 0.02))
    assert not found.is_consistent
    assert abs(found.value - 0.3) <= 1.1 * found.error
    (problem,) = fitted(evidence=found).problems()
    assert "0.300 +- 0.020 from annealing the reference" in problem
    assert "annealing regions" not in problem


def test_evidence_of_a_proposal_that_never_meets_the_target() -> None:
    found = combine(quality(np.full(10, -np.inf)), np.zeros(2), np.full(2, 0.1))
    assert not found.is_consistent
    assert found.error == np.inf
