"""Numbers of the example on epidemics."""

import pytest

from tests.examples.conftest import RunExample

pytestmark = pytest.mark.slow


def test_the_simulator_agrees_with_what_was_learned(run_example: RunExample) -> None:
    names = run_example("epidemics").names
    # a short training and few draws: far from nothing, and from everything
    assert names["share"] > 0.5
    assert names["covered"] > 0.6
