"""Time grids of samplers: decreasing times from 1 (noise) to `end` (data).

    uniform     t is evenly spaced
    quadratic   sqrt(t) is evenly spaced: steps shorten towards the data
    EDM         (sigma / alpha)^(1/rho) is evenly spaced (Karras et al. 2022, arXiv:2206.00364)

A grid is any function `(noise, num_steps) -> times`; `functools.partial` sets further arguments.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive, check_whole
from numpyro_score.compilation import at_once
from numpyro_score.noise import NoiseProcess

END = 1e-3
"""Default last time; the noise of most processes is negligible below it."""

START_TOLERANCE = 1e-5
"""By how much the first time may be below 1, for rounding."""

TimeGrid = Callable[[NoiseProcess, int], Float[Array, "..."]]
"""A rule `(noise, num_steps)` -> times `(num_steps + 1,)`, decreasing from 1."""


def _check(num_steps: int, end: float) -> None:
    check_whole("num_steps", num_steps)
    if not 0 <= end < 1:
        raise ValueError(f"end is {end:g} but a time grid must end at 0 <= end < 1")


def uniform_times(noise: NoiseProcess, num_steps: int, *, end: float = END) -> Float[Array, " k"]:
    """Evenly spaced times from 1 to `end`.

    Parameters
    ----------
    noise
        The process; it is not used.
    num_steps
        Number of steps, one less than times.
    end
        Last time.

    Raises
    ------
    ValueError
        Unless there is a step and 0 <= end < 1.

    Examples
    --------
    >>> from numpyro_score.noise import VP
    >>> uniform_times(VP(), 2, end=0.5).tolist()
    [1.0, 0.75, 0.5]
    """
    del noise
    _check(num_steps, end)
    return jnp.linspace(1.0, end, num_steps + 1)


def quadratic_times(noise: NoiseProcess, num_steps: int, *, end: float = END) -> Float[Array, " k"]:
    """Times with evenly spaced square roots, from 1 to `end`.

    Parameters
    ----------
    noise
        The process; it is not used.
    num_steps
        Number of steps, one less than times.
    end
        Last time.

    Raises
    ------
    ValueError
        Unless there is a step and 0 <= end < 1.

    Examples
    --------
    >>> from numpyro_score.noise import VP
    >>> quadratic_times(VP(), 2, end=0.0).tolist()
    [1.0, 0.25, 0.0]
    """
    del noise
    _check(num_steps, end)
    return jnp.linspace(1.0, end**0.5, num_steps + 1) ** 2


def edm_times(
    noise: NoiseProcess, num_steps: int, *, end: float = END, rho: float = 7.0
) -> Float[Array, " k"]:
    """Times with evenly spaced rho-th roots of the noise-to-signal ratio, from 1 to `end`.

    Parameters
    ----------
    noise
        The process.
    num_steps
        Number of steps, one less than times.
    end
        Last time.
    rho
        Above 0: with 1, `sigma / alpha` is evenly spaced; as rho grows, its logarithm is.

    Raises
    ------
    ValueError
        Unless there is a step, 0 <= end < 1 and rho > 0.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=1.0, sigma_max=4.0)
    >>> noise.sigma(edm_times(noise, 2, end=0.0, rho=2.0)).round(3).tolist()
    [4.0, 2.25, 1.0]
    """
    _check(num_steps, end)
    check_positive("rho", rho, hint="7 is usual")
    share = jnp.linspace(0.0, 1.0, num_steps + 1)
    times = noise.time_of(edm_ratios(noise, share, end=end, rho=rho))
    return times.at[0].set(1.0).at[-1].set(end)


def edm_ratios(
    noise: NoiseProcess, share: Float[Array, "..."], *, end: float = END, rho: float = 7.0
) -> Float[Array, "..."]:
    """`sigma / alpha` after a share of the steps of `edm_times`, from 0 at t = 1 to 1 at `end`."""
    top, bottom = noise.ratio(1.0) ** (1 / rho), noise.ratio(end) ** (1 / rho)
    return (top + share * (bottom - top)) ** rho


def check_grid(grid: Any) -> None:
    """Check that a grid is a rule, not the times themselves.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not callable(grid):
        raise TypeError(
            f"grid is a {type(grid).__name__}, but must be a function (noise, num_steps) -> times, "
            "such as uniform_times; for given times, grid=lambda noise, num_steps: times"
        )


def check_times(noise: NoiseProcess, times: Float[Array, " knots"]) -> None:
    """Check that times decrease from 1, within [0, 1], to where there is noise, unless traced.

    Raises
    ------
    ValueError
        They do not.
    """
    if isinstance(times, jax.core.Tracer):
        return
    values = np.asarray(times, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"times have shape {values.shape}; a vector of at least two is needed")
    if not (np.diff(values) < 0).all() or values[0] > 1 or values[-1] < 0:
        raise ValueError(
            f"times go from {values[0]:g} to {values[-1]:g} and do not all fall within [0, 1]; "
            "times must decrease at every step: use uniform_times, quadratic_times or edm_times, "
            "and float64 for very fine grids"
        )
    if values[0] < 1 - START_TOLERANCE:
        raise ValueError(
            f"the first time is {values[0]:g}, but samplers start from the noise at t = 1; give "
            "times from 1 on, or a process with less noise"
        )
    if not float(at_once(type(noise).variance, noise, values[-1])) > 0:
        raise ValueError(
            f"the grid ends at t = {values[-1]:g}, where {type(noise).__name__} has no noise and "
            "scores are not bounded; end it above 0, as with functools.partial(uniform_times, "
            f"end={END:g})"
        )
