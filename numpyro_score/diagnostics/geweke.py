"""Geweke's diagnostic: whether the start of a chain has the mean of its end.

    z = (mean(A) - mean(B)) / sqrt(var(mean(A)) + var(mean(B))),

A the first 10% and B the last 50% of the draws (Geweke, Evaluating the accuracy of sampling-based
approaches to the calculation of posterior moments, 1992). The variance of a mean of `n` draws is
`S(0) / n`, with the spectral density at frequency 0 of a stationary series, `S(0) = gamma_0 tau`:
the variance times the autocorrelation time in Sokal's window (`autocorrelation.py`). Both are
estimated from the last half of the draws, averaged over chains: chains that converged share them,
and a drift at the start cannot hide itself in them. A mean of fewer than `tau` draws has at most
the variance of one. `z` is held against Student's t with the degrees of freedom of the estimate,
whose relative variance from `n` draws and a window of `M` lags is `2 (2 M + 1) / n` (Sokal 1997);
its relative bias `-(2 M + 1) / n`, of taking each chain around its own mean, is corrected (Wolff
2004, arXiv:hep-lat/0306017).
"""

from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Float, Int
from scipy import stats

from numpyro_score.diagnostics.autocorrelation import WINDOW, windowed

FIRST, LAST = 0.1, 0.5
"""Shares of the draws whose means are compared."""

MIN_TAU = 0.01
"""Autocorrelation time below which an estimate is one of chance."""


class StationaryError(NamedTuple):
    """What a mean over a stretch of a stationary chain is uncertain by.

    Attributes
    ----------
    variance
        Variance of a draw, of shape `batch`.
    tau
        Autocorrelation time, of shape `batch`.
    degrees
        Degrees of freedom of their product, of shape `batch`.
    """

    variance: Float[np.ndarray, "*batch"]
    tau: Float[np.ndarray, "*batch"]
    degrees: Float[np.ndarray, "*batch"]

    def of_mean(self, count: Int[np.ndarray, " counts"]) -> Float[np.ndarray, "*batch counts"]:
        """Variance of the mean of some numbers of consecutive draws."""
        return self.variance[..., None] * np.minimum(1.0, self.tau[..., None] / count)

    def limit(self, false_alarm: float) -> Float[np.ndarray, "*batch"]:
        """Standard errors that a difference of two means exceeds with the given probability."""
        return np.asarray(stats.t.isf(false_alarm / 2, np.maximum(self.degrees, 1.0)))


def stationary_error(values: Float[np.ndarray, "*batch chain draw"]) -> StationaryError:
    """Spectral estimate of the error of a mean, from the last half of the draws of all chains.

    Parameters
    ----------
    values
        Finite draws `(*batch, chain, draw)`. Where no chain moves in the last half, the
        autocorrelation time is NaN.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> error = stationary_error(x)
    >>> bool(abs(error.variance - 1) < 0.1), bool(abs(error.tau - 1) < 0.3)
    (True, True)
    """
    half = values[..., values.shape[-1] // 2 :]
    covariance = array_stats.autocov(half).mean(axis=-2)
    variance = covariance[..., 0]
    with np.errstate(all="ignore"):
        time = windowed(covariance / variance[..., None], WINDOW)
    lags = 2 * time.window + 1
    tau = np.maximum(time.tau, MIN_TAU) * (1 + np.minimum(lags / half.shape[-1], 1.0))
    return StationaryError(variance, tau, half.shape[-1] * half.shape[-2] / lags)


def geweke(
    values: Float[np.ndarray, "*batch chain draw"],
    dropped: Int[np.ndarray, " dropped"],
    error: StationaryError | None = None,
) -> Float[np.ndarray, "*batch chain dropped"]:
    """Geweke's z of every chain, for some numbers of draws dropped from its start.

    Parameters
    ----------
    values
        Finite draws `(*batch, chain, draw)`.
    dropped
        Numbers of draws to drop, each less than the number of draws.
    error
        `stationary_error(values)`, if that is at hand; its `limit` is what `|z|` is held against.

    Returns
    -------
    Differences in standard errors; NaN where no chain moves.

    Raises
    ------
    ValueError
        If a number is negative or leaves no draw.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> x[0, :50] += 3.0
    >>> z, limit = geweke(x, np.array([0, 100])), stationary_error(x).limit(0.001)
    >>> (abs(z) > limit).tolist()  # chain 0 with nothing dropped
    [[True, False], [False, False], [False, False], [False, False]]
    """
    num_draws = values.shape[-1]
    if dropped.size == 0 or dropped.min() < 0 or dropped.max() >= num_draws:
        raise ValueError(
            f"numbers of draws to drop must lie in [0, {num_draws}), got {dropped.tolist()}"
        )
    error = stationary_error(values) if error is None else error
    left = num_draws - dropped
    count_first = np.maximum((FIRST * left).astype(int), 1)
    count_last = np.maximum((LAST * left).astype(int), 1)
    sums = np.zeros((*values.shape[:-1], num_draws + 1))
    # around the mean of the last half, or differences of sums would lose digits
    offset = values[..., num_draws // 2 :].mean(axis=-1, keepdims=True)
    np.cumsum(values - offset, axis=-1, out=sums[..., 1:])
    mean_first = (sums[..., dropped + count_first] - sums[..., dropped]) / count_first
    mean_last = (sums[..., -1:] - sums[..., num_draws - count_last]) / count_last
    scale = np.sqrt(error.of_mean(count_first) + error.of_mean(count_last))[..., None, :]
    with np.errstate(all="ignore"):
        return (mean_first - mean_last) / scale
