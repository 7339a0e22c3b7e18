"""Integrated autocorrelation time, with Sokal's self-consistent window.

    tau(M) = 1 + 2 sum_{t=1}^{M} rho(t),      M the first lag with M >= c tau(M),

the number of draws per effectively independent draw (Sokal, Monte Carlo methods in statistical
mechanics, 1997, doi:10.1007/978-1-4899-0319-8_6; c = 5 there). The autocorrelation `rho` is the
mean over chains of that of each, each around its own mean, as in emcee (Foreman-Mackey, Hogg, Lang
and Goodman 2013, arXiv:1202.3665): the estimate is reliable from 50 tau draws per chain on, and too
small for shorter chains.
"""

from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Bool, Float, Int

WINDOW = 5.0
"""Sokal's c: lags of the window in units of tau."""

TRUSTED_LENGTH = 50.0
"""Draws per chain, in units of tau, from which on the estimate is trusted."""


class AutocorrelationTime(NamedTuple):
    """Estimated integrated autocorrelation times.

    Attributes
    ----------
    tau
        The time, in draws; NaN where no chain moves.
    window
        Lags that were summed.
    is_trusted
        Whether the chains are longer than `TRUSTED_LENGTH` times `tau`.
    """

    tau: Float[np.ndarray, "..."]
    window: Int[np.ndarray, "..."]
    is_trusted: Bool[np.ndarray, "..."]


def windowed(rho: Float[np.ndarray, "... draw"], c: float = WINDOW) -> AutocorrelationTime:
    """Autocorrelation times from the autocorrelation at every lag.

    Parameters
    ----------
    rho
        Autocorrelations, 1 at lag 0.
    c
        Length of the window in units of tau.

    Examples
    --------
    >>> time = windowed(0.5 ** np.arange(1000))
    >>> float(time.tau.round(3)), int(time.window)
    (3.0, 15)
    """
    num_draws = rho.shape[-1]
    taus = 2 * np.cumsum(rho, axis=-1) - 1
    is_beyond = np.arange(num_draws) >= c * taus
    window = np.where(is_beyond.any(axis=-1), is_beyond.argmax(axis=-1), num_draws - 1)
    tau = np.take_along_axis(taus, window[..., None], axis=-1)[..., 0]
    return AutocorrelationTime(tau, window, TRUSTED_LENGTH * tau <= num_draws)


def autocorrelation_time(
    values: Float[np.ndarray, "*batch chain draw"], c: float = WINDOW
) -> tuple[AutocorrelationTime, AutocorrelationTime]:
    """Integrated autocorrelation times, of all chains together and of each.

    Parameters
    ----------
    values
        Finite draws `(*batch, chain, draw)`.
    c
        Length of the window in units of tau.

    Returns
    -------
    The times of shape `batch`, for which the autocorrelations of the chains that move are averaged,
    and those of shape `(*batch, chain)`. Chains that stay where they are have NaN.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> together, each = autocorrelation_time(x)
    >>> bool(abs(together.tau - 1) < 0.2), each.tau.shape
    (True, (4,))
    """
    covariance = array_stats.autocov(values)
    variance = covariance[..., :1]
    has_moved = np.ptp(values, axis=-1, keepdims=True) > 0
    rho = np.divide(covariance, variance, out=np.full_like(covariance, np.nan), where=has_moved)
    count = has_moved.sum(axis=-2)
    mean = np.divide(
        np.sum(rho, axis=-2, where=has_moved),
        count,
        out=np.full(rho.shape[:-2] + rho.shape[-1:], np.nan),
        where=count > 0,
    )
    return windowed(mean, c), windowed(rho, c)
