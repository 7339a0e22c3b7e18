"""Numbers of the example on posteriors with several modes."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("label_switching")


JUMPS, NUTS = ("product regression", "GlobalLocal"), ("product regression", "NUTS")


def test_jumps_weigh_both_modes_alike(example: Example) -> None:
    names = example.names
    assert (np.abs(names["shares"][JUMPS] - 0.5) < 4 * names["errors"][JUMPS]).all()
    assert names["errors"][JUMPS].max() < 0.05
    assert names["moved"][JUMPS] == 1.0
    # exploring and training are counted
    assert names["spent"][JUMPS].num_grad_training > names["spent"][JUMPS].num_grad > 0


def test_nuts_stays_in_the_mode_of_its_start_and_is_flagged(example: Example) -> None:
    names = example.names
    assert names["moved"][NUTS] == 0.0
    assert not names["verdicts"][NUTS].is_converged
    assert names["verdicts"][NUTS].rhat_max > 1.3 > names["verdicts"][JUMPS].rhat_max
