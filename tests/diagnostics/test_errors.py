import jax
import numpy as np
import pytest

from numpyro_score.diagnostics import chance_limit, expectation_errors
from numpyro_score.targets import Expectation, gumbel, moments, two_modes


def draws_of(target, num_chains=4, num_draws=1000, seed=0):
    draws = target.sample(jax.random.key(seed), num_chains * num_draws)
    return {k: np.asarray(v).reshape(num_chains, num_draws, -1) for k, v in draws.items()}


@pytest.mark.parametrize("target", [gumbel(), two_modes()], ids=lambda t: t.name)
def test_exact_draws_err_by_chance_only(tree, target):
    table = expectation_errors(tree(**draws_of(target)), target.expectations)
    assert len(table) == sum(e.truth.size for e in target.expectations)
    assert table.error_mcse.max() < chance_limit(len(table))
    # errors of one run follow a standard normal in absolute value
    assert 0.2 < table.error_mcse.mean() < 2.0
    np.testing.assert_allclose(table.error_sd, abs(table.estimate - table.truth) / table.sd)


def test_draws_that_are_shifted_or_too_wide_are_caught(tree):
    target = gumbel()
    x = draws_of(target)["x"]
    fine = expectation_errors(tree(x=x), target.expectations)
    moved = expectation_errors(tree(x=x + 0.25), target.expectations)
    assert moved.error_mcse.max() > chance_limit(len(moved)) > fine.error_mcse.max()
    assert np.isclose(moved.error_sd[0], 0.25 / (np.pi / np.sqrt(6)), rtol=0.2)


def test_the_truth_s_own_error_is_allowed_for(tree):
    x = np.random.default_rng(0).normal(size=(4, 1000))
    sharp = Expectation("mean", "x", lambda draws: draws["x"], 1.0, 1.0)
    vague = Expectation("mean", "x", lambda draws: draws["x"], 1.0, 1.0, standard_error=0.5)
    errors = [expectation_errors(tree(x=x), [e]).error_mcse[0] for e in (sharp, vague)]
    assert errors[0] > 50
    assert 1.5 < errors[1] < 2.5


def test_autocorrelation_is_allowed_for(tree):
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.normal(size=(4, 50)), 20, axis=1)
    mean = Expectation("mean", "x", lambda draws: draws["x"], 0.0, 1.0)
    table = expectation_errors(tree(x=slow), [mean])
    assert 0.5 < table.mcse[0] * np.sqrt(4 * 50) < 2.0


def test_an_estimate_that_cannot_vary_is_right_or_infinitely_wrong(tree):
    mode = two_modes().expectations[2]
    one_mode = np.full((4, 100, 2), 5.0) + np.random.default_rng(0).normal(size=(4, 100, 2)) * 0.1
    table = expectation_errors(tree(x=one_mode), [mode])
    assert np.isinf(table.error_mcse).all() or (table.error_mcse > 1e6).all()
    constant = Expectation("one", "x", lambda draws: np.ones(draws["x"].shape[:2]), 1.0, 1.0)
    assert expectation_errors(tree(x=one_mode), [constant]).error_mcse[0] == 0


def test_names_tell_which_element(tree):
    table = expectation_errors(tree(**draws_of(two_modes())), two_modes().expectations)
    assert table.quantity.tolist()[::2] == [
        "mean(x)[0]",
        "second_moment(x)[0]",
        "mode_weight(x)[0]",
    ]


def test_a_missing_variable_is_an_error_that_lists_those_there_are(tree):
    known = moments("y", 0.0, 1.0, 3.0)
    with pytest.raises(ValueError, match=r"'y', which the posterior lacks; it has x"):
        expectation_errors(tree(x=np.zeros((4, 100))), known)


@pytest.mark.parametrize("truth", [0.0, np.zeros(1), np.zeros(3), np.zeros((2, 1))])
def test_a_known_value_of_another_shape_is_an_error(tree, truth):
    known = Expectation("mean", "x", lambda draws: draws["x"], truth, np.ones_like(truth))
    with pytest.raises(ValueError, match=r"must return \(4, 100.*it returned \(4, 100, 2\)"):
        expectation_errors(tree(x=np.zeros((4, 100, 2))), [known])


def test_the_chance_limit_holds_for_the_worst_of_many():
    rng = np.random.default_rng(0)
    worst = abs(rng.normal(size=(20_000, 30))).max(axis=1)
    assert (worst > chance_limit(30)).mean() < 0.0025
    assert (worst > chance_limit(1)).mean() > 0.01
