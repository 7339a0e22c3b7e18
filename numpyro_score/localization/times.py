"""Grids of observation times (Montanari 2023, arXiv:2305.10690)."""

from typing import Any

import numpy as np
from jaxtyping import Float

from numpyro_score.checks import check_whole


def geometric_times(first: float, last: float, num_steps: int) -> Float[np.ndarray, " knots"]:
    """0, then `num_steps` geometrically spaced times from `first` to `last`.

    Steps of Gaussian and Poisson observations should be short relative to the time, since
    information grows with its logarithm.

    Parameters
    ----------
    first, last
        Above 0, `first < last`. For observations `t x + W_t`, `first` should be small relative to
        `1 / R^2` for a target of radius `R`, and `last` large relative to `1 / s^2` for modes of sd
        `s`.
    num_steps
        At least 2.

    Returns
    -------
    `(num_steps + 1,)`.

    Raises
    ------
    ValueError
        Not `0 < first < last`, or there are fewer than two steps.

    Examples
    --------
    >>> geometric_times(0.1, 10.0, 3).round(2).tolist()
    [0.0, 0.1, 1.0, 10.0]
    """
    if not 0 < first < last < np.inf:
        raise ValueError(f"times from {first} to {last}; give 0 < first < last")
    check_whole("num_steps", num_steps, 2)
    return np.concatenate([[0.0], np.geomspace(first, last, num_steps)])


def check_times(times: Any, last_time: float) -> Float[np.ndarray, " knots"]:
    """Times as an array, after checks.

    Raises
    ------
    ValueError
        There are fewer than two, they do not increase from 0 or more, or exceed the last time of
        the process.
    """
    values = np.asarray(times, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"times have shape {values.shape}; give a vector of at least two times")
    if not np.isfinite(values).all() or values[0] < 0 or (np.diff(values) <= 0).any():
        raise ValueError("times have to be finite and to rise, from 0 or more")
    if values[-1] > last_time:
        raise ValueError(
            f"the last time is {values[-1]:g}, but these observations end at {last_time:g}"
        )
    return values
