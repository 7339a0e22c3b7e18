"""Numbers of the example on unbalanced modes."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("localization")


def test_two_networks_find_both_modes(example: Example) -> None:
    names = example.names
    ((width, _, two),), ((_, projected),) = names["rows"], names["shown"]
    assert width == 16
    # the plane through the mean leaves 7% of the large mode on the other side
    assert abs(two - 0.66) < 4.5 * names["error"] + 0.03
    # both modes are there, with next to nothing between
    assert np.mean((projected > -1.5) & (projected < -0.5)) < 0.12


def test_the_plane_parts_the_modes(example: Example) -> None:
    names = example.names
    assert names["share"](names["points"]) == pytest.approx(0.69, abs=0.02)
    shares = [names["share"](names["points"][side]) for side in (names["side"], ~names["side"])]
    # some of the large mode are on the other side of the plane, none of the small one
    assert max(shares) > 0.99
    assert 0.05 < min(shares) < 0.2
