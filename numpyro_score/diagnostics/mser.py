"""MSER-5: the truncation that makes the mean of what is left most accurate.

Of means of 5 draws `y_1 ... y_m`, the first `k` are dropped that minimise

    MSER(k) = 1 / (m - k)^2  sum_{j > k} (y_j - mean(y_{k+1} ... y_m))^2,

the squared standard error of the mean of the rest, had it no autocorrelation: a start that is off
adds to the sum more than it adds to the count (White 1997, doi:10.1177/003754979706900601; with
batches of 5, White, Cobb and Spratt 2000, doi:10.1109/WSC.2000.899755). A minimum in the second
half means that the series is too short for an estimate.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

BATCH = 5
"""Draws that are averaged first."""

MIN_BATCHES = 10
"""Batches below which nothing is estimated."""

SHORTEST_REST = 5
"""Batches that are left at least: of fewer, the minimum is one of chance."""


class Truncation(NamedTuple):
    """Draws to drop.

    Attributes
    ----------
    num_draws
        How many, from the start.
    is_trusted
        Whether the minimum lies in the first half.
    """

    num_draws: Int[np.ndarray, "..."]
    is_trusted: Bool[np.ndarray, "..."]


def mser(
    values: Float[np.ndarray, "*batch chain draw"],
) -> tuple[Truncation, Truncation]:
    """Draws to drop by MSER-5, the same for all chains, and for each.

    Parameters
    ----------
    values
        Finite draws `(*batch, chain, draw)`, at least 50 a chain.

    Returns
    -------
    The truncation of shape `batch`, of the squared errors of all chains added up, and the one of
    shape `(*batch, chain)`.

    Raises
    ------
    ValueError
        If there are fewer than `BATCH * MIN_BATCHES` draws.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> x[:, :100] += 10.0
    >>> together, each = mser(x)
    >>> int(together.num_draws), each.num_draws.shape
    (100, (4,))
    """
    num_batches = values.shape[-1] // BATCH
    if num_batches < MIN_BATCHES:
        raise ValueError(
            f"MSER-{BATCH} needs at least {BATCH * MIN_BATCHES} draws a chain, got "
            f"{values.shape[-1]}; run longer"
        )
    # what does not fill a batch is left out at the end
    shape = (*values.shape[:-1], num_batches, BATCH)
    means = values[..., : num_batches * BATCH].reshape(shape).mean(axis=-1)
    # around the mean of the second half, or the sums below would cancel
    means = means - means[..., num_batches // 2 :].mean(axis=-1, keepdims=True)
    # [k]: what is left when k batches are dropped
    left = np.arange(num_batches, 0, -1)
    total = np.cumsum(means[..., ::-1], axis=-1)[..., ::-1]
    squares = np.cumsum(means[..., ::-1] ** 2, axis=-1)[..., ::-1]
    errors = np.maximum(squares - total**2 / left, 0.0) / left**2
    errors = errors[..., : num_batches - SHORTEST_REST]
    return _smallest(errors.sum(axis=-2), num_batches), _smallest(errors, num_batches)


def _smallest(errors: Float[np.ndarray, "... batches"], num_batches: int) -> Truncation:
    first = errors.argmin(axis=-1)
    return Truncation(first * BATCH, 2 * first <= num_batches)
