"""Numbers of the example on Metropolis-Hastings."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("metropolis_hastings")


def test_moments_and_weights_are_the_targets(example: Example) -> None:
    errors = example.names["walk_errors"]
    assert errors.truth["mode_weight(x)[0]"] == pytest.approx(0.6)
    assert errors.mcse["mode_weight(x)[0]"] < 0.05
    assert (errors.error_mcse < 4.5).all()


def test_histogram_follows_the_density(example: Example) -> None:
    names = example.names
    assert names["bin_mass"].sum() == pytest.approx(1, abs=1e-3)
    often = names["bin_mass"] > 0.01
    share, error = names["bin_share"][often], names["bin_error"][often]
    away = (share - names["bin_mass"][often]) / error
    assert np.abs(away).max() < 5  # t with 49 degrees of freedom, some 25 bins
    # a density without the right mode is told from the draws
    one_bell = np.where(names["edges"][1:] < 1, names["bin_mass"], 0)[often]
    assert np.abs((share - one_bell) / error).max() > 5


def test_acceptance_of_a_walk_is_its_integral(example: Example) -> None:
    names = example.names
    gap = names["acceptance"] - names["expected_acceptance"]
    assert (np.abs(gap) < 5 * names["acceptance_error"] + 1e-3).all()
    assert (np.diff(names["expected_acceptance"]) < 0).all()
    best = int(names["ess"].argmax())
    assert 0 < best < len(names["scales"]) - 1
    assert names["ess"][best] > 5 * max(names["ess"][0], names["ess"][-1])


def test_a_proposal_that_covers_finds_both_modes(example: Example) -> None:
    wide = example.names["independence"]["wide"]
    assert abs(wide["weight"] - 0.6) < 4.5 * wide["mcse"]
    assert wide["acceptance"] == pytest.approx(wide["exact_acceptance"], abs=0.02)
    assert wide["longest_stand"] < 50
    assert wide["findings"] == []


def test_thin_tails_hold_the_chain(example: Example) -> None:
    thin, wide = (example.names["independence"][name] for name in ("thin tails", "wide"))
    assert thin["weight"] - 0.6 > 10 * wide["mcse"]
    assert thin["longest_stand"] > 20 * wide["longest_stand"]


def test_what_is_never_proposed_is_not_missed(example: Example) -> None:
    cut = example.names["independence"]["cut at 1"]
    assert abs(cut["weight"] - cut["reachable"]) < 4.5 * cut["mcse"]
    assert cut["weight"] - 0.6 > 20 * cut["mcse"]
    assert cut["acceptance"] == pytest.approx(cut["exact_acceptance"], abs=0.02)
    assert cut["findings"] == []
