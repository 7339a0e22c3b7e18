"""Numbers of the example on Langevin Monte Carlo."""

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("langevin")


def test_moments_are_the_bananas(example: Example) -> None:
    names = example.names
    assert names["NUM_DRAWS"] == 10_000
    assert names["NUM_BURN_IN"] == 200
    assert len(names["errors"]) == 4
    assert (names["errors"].error_mcse < 4.5).all()


def test_burn_in_ends_on_the_crescent(example: Example) -> None:
    level = example.names["burnt_in"]
    assert level[0] < -4
    # -1, the mean of minus half a chi-square of 2 degrees, whose sd is 1
    assert abs(level[-1] + 1) < 4.5 / np.sqrt(example.names["NUM_CHAINS"])


def test_there_is_a_best_step_size(example: Example) -> None:
    for row in example.names["sweep"].values():
        assert row["acceptance"][0] > 0.95
        assert row["acceptance"][-1] < 0.3
        jump = row["jump"]
        assert 0 < jump.argmax() < len(jump) - 1
        assert jump.max() > 3 * jump[0]


def test_variances_do_not_straighten_a_bend(example: Example) -> None:
    identity, variances = example.names["sweep"].values()
    assert variances["jump"].max() > 2 * identity["jump"].max()
    assert variances["ess"].max() < 2 * identity["ess"].max()
    far = variances["jump"].argmax()
    assert variances["in_arms"][far] < variances["acceptance"][far] / 2


def test_a_mass_matrix_saves_what_scales_cost(example: Example) -> None:
    names = example.names
    assert names["expected_gain"] == pytest.approx(46, abs=1)
    assert names["expected_gain"] / 2 < names["gain"] < 2 * names["expected_gain"]


def test_gradients_pay_with_the_dimension(example: Example) -> None:
    walk, mala = example.names["beside"]["random walk"], example.names["beside"]["MALA"]
    assert walk[-1, 0] == pytest.approx(0.234, abs=0.03)
    assert mala[-1, 0] == pytest.approx(0.574, abs=0.04)
    advantage = mala[:, 1] / walk[:, 1]
    assert (np.diff(advantage) > 0).all()
    expected = example.names["limits"]["MALA"] / example.names["limits"]["random walk"]
    assert expected[-1] / 2 < advantage[-1] < 2 * expected[-1]
