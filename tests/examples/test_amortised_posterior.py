"""Numbers of the example on amortised posteriors."""

import numpy as np
import pytest

from tests.examples.conftest import RunExample


@pytest.mark.slow
def test_the_corrected_means_are_those_of_nuts(run_example: RunExample) -> None:
    names = run_example("amortised_posterior").names
    assert np.abs(names["away"]).max() < 4.5
    assert (names["rate"] > 0).all()
