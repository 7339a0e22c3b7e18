"""Grids of observation times (Montanari 2023, arXiv:2305.10690)."""

from typing import Any

import numpy as np
from jaxtyping import Float

from numpyro_score.checks import check_whole


def geometric_times(first: float, last: float, num_steps: int) -> Float[np.ndarray, " knots"]:
    """0, then `num_steps` times from `first` to `last`, each a multiple of the one before.

    Steps of Gaussian and Poisson observations are to be short against the time itself: what is
    known grows with its logarithm.

    Parameters
    ----------
    first, last
        Above 0, rising. With observations `t x + W_t`, `first` is small against `1 / R^2`, for a
        target of radius `R`; `last` is large against `1 / s^2`, for modes of sd `s`.
    num_steps
        At least 2.

    Returns
    -------
    `(num_steps + 1,)`.

    Raises
    ------
    ValueError
        If the ends do not rise from above 0, or there are fewer than two steps.

    Examples
    --------
    >>> geometric_times(0.1, 10.0, 3).round(2).tolist()
    [0.0, 0.1, 1.0, 10.0]
    """
    if not 0 < first < last < np.inf:
        raise ValueError(f"times from {first} to {last}; 0 < first < last is needed")
    check_whole("num_steps", num_steps, 2)
    return np.concatenate([[0.0], np.geomspace(first, last, num_steps)])


def check_times(times: Any, last_time: float) -> Float[np.ndarray, " knots"]:
    """Times as an array.

    Raises
    ------
    ValueError
        If there are fewer than two, they do not rise from 0 or more, or go past the process's end.
    """
    values = np.asarray(times, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            f"times have shape {values.shape}; one axis with at least two times is needed"
        )
    if not np.isfinite(values).all() or values[0] < 0 or (np.diff(values) <= 0).any():
        raise ValueError("times have to be finite and to rise, from 0 or more")
    if values[-1] > last_time:
        raise ValueError(
            f"the last time is {values[-1]:g}, but these observations end at {last_time:g}"
        )
    return values
