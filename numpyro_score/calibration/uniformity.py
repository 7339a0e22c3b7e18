"""Test of uniformity on [0, 1], with a simultaneous band for the ECDF.

The statistic is the smallest two-sided binomial tail probability of the ECDF over a grid;
its distribution for uniform values is simulated (Sailynoja, Buerkner and Vehtari 2022,
doi:10.1007/s11222-022-10090-6). An ECDF that leaves the band of probability `1 - p` has a p-value
below p, so that the figure and the verdict agree.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import stats

NUM_NULL = 20_000
"""Simulations of the statistic's distribution."""

GRID = 200
"""Points of the grid, at most."""


def _grid(num: int) -> np.ndarray:
    size = min(num, GRID)
    return np.arange(1, size) / size


@lru_cache(maxsize=8)
def _tails(num: int) -> np.ndarray:
    """Log of twice the smaller tail probability of every count at every point of the grid."""
    z, counts = _grid(num), np.arange(num + 1)[:, None]
    lower, upper = stats.binom.logcdf(counts, num, z), stats.binom.logsf(counts - 1, num, z)
    return np.minimum(np.minimum(lower, upper) + np.log(2.0), 0.0)


def _statistic(values: np.ndarray) -> np.ndarray:
    """Of sorted values in the last axis."""
    num = values.shape[-1]
    z = _grid(num)
    cells = np.ceil(values * (len(z) + 1)).astype(int).clip(1, len(z) + 1)
    rows = values.reshape(-1, num)
    flat = cells.reshape(-1, num)
    histogram = np.zeros((len(rows), len(z) + 2), np.int32)
    np.add.at(histogram, (np.repeat(np.arange(len(rows)), num), flat.reshape(-1)), 1)
    counts = histogram.cumsum(axis=1)[:, 1:-1]
    return _tails(num)[counts, np.arange(len(z))].min(axis=1)


@lru_cache(maxsize=8)
def _null(num: int) -> np.ndarray:
    """Sorted statistics of uniform values."""
    rng = np.random.default_rng(214)
    rows = max(200_000 // num, 1)
    parts = [
        _statistic(rng.uniform(size=(min(rows, NUM_NULL - begin), num)))
        for begin in range(0, NUM_NULL, rows)
    ]
    return np.sort(np.concatenate(parts))


def p_value(values: Float[np.ndarray, " num"]) -> float:
    """Probability that the ECDF of as many uniform values is as far from uniform, or farther.

    Parameters
    ----------
    values
        On [0, 1], at least 2.
    """
    found = _statistic(np.asarray(values, np.float64)[None])[0]
    null = _null(len(values))
    return float((np.searchsorted(null, found, side="right") + 1) / (len(null) + 1))


def band(num: int, probability: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The band that the ECDF of uniform values stays in with a probability: grid, lower, upper."""
    z = _grid(num)
    cut = np.quantile(_null(num), 1 - probability)
    inside = _tails(num) >= cut
    counts = np.arange(num + 1)[:, None]
    lower = np.where(inside, counts, num).min(axis=0) / num
    upper = np.where(inside, counts, 0).max(axis=0) / num
    return z, lower, upper
