"""Numbers of the example on a simulator in a hierarchical model."""

import numpy as np
import pytest

from tests.examples.conftest import RunExample

pytestmark = pytest.mark.slow


def test_parameters_are_found_and_predictions_agree(run_example: RunExample) -> None:
    names = run_example("simulator_in_a_hierarchy").names
    post = names["post"]
    for name, truth in names["TRUTH"].items():
        assert abs(post[name].mean() - truth) < 4 * post[name].std()
    # 20 villages in each of 4 weeks; 90% are expected
    assert (names["inside"] > 0.9 - 4 * np.sqrt(0.9 * 0.1 / 20)).all()
    assert 0.5 < np.sqrt(np.mean(names["z"] ** 2)) < 1.5
