"""Alarms of the example on good and bad chains."""

import pytest

from tests.examples.conftest import Example, RunExample


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("diagnostics_gallery")


@pytest.mark.parametrize("fault", ["agreement", "memory", "start", "modes"])
def test_good_chains_raise_nothing(example: Example, fault: str) -> None:
    assert example.names["alarms"][fault, "good"] == []


@pytest.mark.parametrize(
    ("fault", "diagnostic"),
    [("agreement", "mixing"), ("memory", "mixing"), ("start", "burn_in"), ("modes", "modes")],
)
def test_bad_chains_are_found(example: Example, fault: str, diagnostic: str) -> None:
    assert diagnostic in example.names["alarms"][fault, "bad"]


def test_rhat_and_drop_are_of_the_fault(example: Example) -> None:
    figures = example.names["figures"]
    assert figures["agreement", "bad"][0] > 1.1 > 1.02 > figures["agreement", "good"][0]
    assert figures["memory", "bad"][1] < 0.1 * figures["memory", "good"][1]
    length = example.names["NUM_DRAWS"]
    assert 0.1 * length < figures["start", "bad"][2] < 0.6 * length
