import numpy as np
import pytest
from scipy import stats

from numpyro_score.diagnostics.geweke import FIRST, LAST, geweke, stationary_error


def test_is_its_definition():
    x = np.random.default_rng(0).normal(size=(3, 200))
    error = stationary_error(x)
    z = geweke(x, np.array([0, 50]))
    for column, dropped in enumerate((0, 50)):
        kept = x[:, dropped:]
        size = kept.shape[1]
        first, last = kept[:, : int(FIRST * size)], kept[:, -int(LAST * size) :]
        scale = error.variance * error.tau * (1 / first.shape[1] + 1 / last.shape[1])
        expected = (first.mean(axis=1) - last.mean(axis=1)) / np.sqrt(scale)
        np.testing.assert_allclose(z[:, column], expected, rtol=1e-10)


@pytest.mark.parametrize("coefficient", [0.0, 0.6, 0.9])
def test_z_of_a_stationary_chain_is_as_its_limit_says(ar1, coefficient):
    """At a tenth, the share of alarms is a tenth; the spectral density is that of an AR(1)."""
    x = ar1(np.random.default_rng(1), coefficient, (500, 4, 2000))
    error = stationary_error(x)
    z = geweke(x, np.array([0]), error)[..., 0]
    alarms = np.abs(z) > error.limit(0.1)[:, None]
    # the chains of one run share their error: 500 runs, not 2,000
    assert abs(alarms.mean() - 0.1) < 5 * np.sqrt(0.1 * 0.9 / 500)
    density = error.variance * error.tau
    true = (1 + coefficient) / (1 - coefficient)
    assert abs(density.mean() / true - 1) < 0.05


def test_an_error_that_ignores_autocorrelation_would_alarm(ar1):
    x = ar1(np.random.default_rng(2), 0.9, (200, 4, 2000))
    error = stationary_error(x)
    naive = error._replace(tau=np.ones_like(error.tau))
    assert (np.abs(geweke(x, np.array([0]), naive)) > stats.norm.isf(0.05)).mean() > 0.4


def test_a_start_does_not_hide_in_its_own_error():
    x = np.random.default_rng(3).normal(size=(4, 1000))
    x[:, :100] += np.linspace(20, 0, 100)
    assert (np.abs(geweke(x, np.array([0]))) > 50).all()


def test_chains_that_stop():
    x = np.random.default_rng(4).normal(size=(2, 100))
    x[:, 50:] = 1.0
    assert not (np.abs(geweke(x, np.array([0]))) <= stationary_error(x).limit(0.01)).any()


@pytest.mark.parametrize("dropped", [[-1], [100], []])
def test_impossible_numbers(dropped):
    with pytest.raises(ValueError, match=r"must lie in \[0, 100\)"):
        geweke(np.zeros((2, 100)), np.array(dropped, dtype=int))
