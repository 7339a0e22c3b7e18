"""Numbers of the example on yesterday's posterior."""

import pytest

from tests.examples.conftest import RunExample

pytestmark = pytest.mark.slow


def test_the_learned_prior_loses_little(run_example: RunExample) -> None:
    names = run_example("yesterdays_posterior").names
    error = names["error"]
    # a Gaussian with the right moments is not enough
    assert error["learned prior"] < error["Gaussian prior"] / 2
    assert error["learned prior"] < 0.25
    assert names["covered"].is_covered
