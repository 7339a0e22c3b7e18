import emcee
import numpy as np
import pytest
from arviz_stats.base import array_stats

from numpyro_score.diagnostics.autocorrelation import (
    autocorrelation_time,
    windowed,
)


def test_autocovariance_is_its_definition():
    x = np.random.default_rng(0).normal(size=(2, 37))
    centred = x - x.mean(axis=1, keepdims=True)
    expected = [(centred[:, : 37 - t] * centred[:, t:]).sum(axis=1) / 37 for t in range(37)]
    np.testing.assert_allclose(array_stats.autocov(x), np.stack(expected, axis=1), atol=1e-12)


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9])
def test_time_is_emcees(ar1, coefficient):
    x = ar1(np.random.default_rng(1), coefficient, (3, 4, 2000))
    together, _ = autocorrelation_time(x)
    # emcee wants (draw, walker, parameter)
    expected = emcee.autocorr.integrated_time(x.transpose(2, 1, 0), c=5, quiet=True)
    np.testing.assert_allclose(together.tau, expected, rtol=1e-10)


def test_trust_is_emcees(ar1):
    rng = np.random.default_rng(2)
    short, long = (ar1(rng, 0.95, (4, length)) for length in (400, 4000))  # tau = 39
    assert not autocorrelation_time(short)[0].is_trusted
    with pytest.raises(emcee.autocorr.AutocorrError):
        emcee.autocorr.integrated_time(short.T[:, :, None], c=5, tol=50)
    assert autocorrelation_time(long)[0].is_trusted
    emcee.autocorr.integrated_time(long.T[:, :, None], c=5, tol=50)


def test_time_of_an_autoregression(ar1):
    """tau = (1 + a) / (1 - a); the relative variance of the estimate is 2 (2 M + 1) / n."""
    x = ar1(np.random.default_rng(3), 0.8, (50, 8, 5000))
    together, each = autocorrelation_time(x)
    window = together.window.mean()
    error = 9.0 * np.sqrt(2 * (2 * window + 1) / (50 * 8 * 5000))
    # the window leaves out exp(-5 * ...) of the sum, and each chain's own mean tau / n
    bias = 9.0 * (0.8**window + 2 * 9.0 / 5000)
    assert abs(together.tau.mean() - 9.0) < 5 * error + bias
    assert abs(each.tau.mean() - 9.0) < 5 * error + bias


def test_a_window_that_is_too_short_misses_the_tail(ar1):
    x = ar1(np.random.default_rng(3), 0.8, (50, 8, 5000))
    assert autocorrelation_time(x, c=0.5)[0].tau.mean() < 6


def test_chains_that_stay_where_they_are():
    x = np.random.default_rng(4).normal(size=(3, 100))
    x[1] = 2.0
    together, each = autocorrelation_time(x)
    assert np.isfinite(together.tau)
    assert np.isnan(each.tau).tolist() == [False, True, False]
    assert not each.is_trusted[1]
    assert np.isnan(autocorrelation_time(np.ones((2, 100)))[0].tau)


def test_a_series_that_never_decays_uses_all_lags():
    assert windowed(np.ones(10)).window == 9
