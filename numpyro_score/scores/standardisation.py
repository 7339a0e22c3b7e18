"""Standardisation of data: means and sds that a model holds and applies itself.

For `x = alpha x_0 + sigma z` and data of mean m and sd v in a coordinate, the network's input is

    u = (x - alpha m) / n,    n^2 = alpha^2 v^2 + sigma^2,

which has variance 1 at every noise level. It is a signal of scale `a = alpha v / n` plus noise of
scale `s = sigma / n`, with `a^2 + s^2 = 1` (the input scaling of Karras et al. 2022,
arXiv:2206.00364, for each coordinate). The score in `x` is the score in `u` divided by `n`.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import Constant
from numpyro_score.types import Scalar

SMALLEST_SD = 1e-3
SMALLEST_NOISE = 1e-4

RESOLUTION = 0.1
"""Largest spacing of floating-point numbers at the location of draws, in units of their sd."""

SCALE_POWER = 0.4
"""Of the smallest and the largest number of a float type: the limits of an overall sd. Noise is
down to a thousandth of it, and is squared."""

OUTLIER_SHARE, OUTLIER_RATIO = 0.01, 1e-3
"""Outliers: at most this share of the points, beside which the quartiles are nearer than that, in
units of the sd."""

Data = Float[np.ndarray | Array, "num *event"]


class Standardised(NamedTuple):
    """A noised point, standardised at its noise level.

    Attributes
    ----------
    u
        The point, of the data's shape, variance 1.
    alpha, sigma
        Scales of signal and noise in `u`, whose squares sum to 1; their shapes broadcast to that of
        `u`.
    scale
        `n`, one unit of `u` in units of `x`.
    level
        Scalar log ratio of noise and signal, with the data's overall sd as unit.
    """

    u: Float[Array, "..."]
    alpha: Float[Array, "..."]
    sigma: Float[Array, "..."]
    scale: Float[Array, "..."]
    level: Float[Array, ""]


class Standardisation(eqx.Module):
    """Mean and sd of the data, which training does not change.

    Parameters
    ----------
    data
        `(num, *event)`, or None for mean 0 and sd 1. A coordinate that is constant gets a small
        sd, a thousandth of the others'.
    axis
        The axes of `data` to average over: 0 for a mean and sd per coordinate, `(0, 2, 3)` for one
        per channel of images.

    Raises
    ------
    ValueError
        If there are no data, or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> units = Standardisation(np.array([[1.0, 10.0], [3.0, 30.0]]))
    >>> units.mean.array.tolist(), units.sd.array.tolist()
    ([2.0, 20.0], [1.0, 10.0])
    """

    mean: Constant
    sd: Constant

    def __init__(self, data: Data | None = None, axis: int | tuple[int, ...] = 0):
        if data is None:
            mean, sd = np.zeros(()), np.ones(())
        else:
            mean, sd = moments(data, axis)
        self.mean = Constant(jnp.asarray(mean, jnp.result_type(float)))
        self.sd = Constant(jnp.asarray(sd, jnp.result_type(float)))

    def static(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """`(x - mean) / sd`, for models without noise."""
        return (x - self.mean.like(x)) / self.sd.like(x)

    def at(self, noise: NoiseProcess, x: Float[Array, "..."], t: Scalar) -> Standardised:
        """One noised point, standardised at its noise level."""
        mean, sd = self.mean.like(x), self.sd.like(x)
        overall = jnp.sqrt(jnp.mean(sd**2))
        alpha = noise.alpha(t).astype(x.dtype)
        # at least a little noise: without any, a prediction of the noise does not determine the
        # score
        sigma = jnp.maximum(noise.sigma(t).astype(x.dtype), SMALLEST_NOISE * overall * alpha)
        scale = jnp.sqrt((alpha * sd) ** 2 + sigma**2)
        level = jnp.log(sigma / (alpha * overall))
        return Standardised(
            (x - alpha * mean) / scale, alpha * sd / scale, sigma / scale, scale, level
        )


def check_data(data: Data) -> np.ndarray:
    """Data as a float64 array `(num, *event)`.

    Raises
    ------
    ValueError
        If there are none, or values that are not finite.
    """
    points = np.asarray(data, np.float64)
    if points.ndim < 2 or points.size == 0:
        raise ValueError(
            f"data have shape {points.shape}; give at least one point, shape (num, *event): "
            "x[:, None] where a point is one number"
        )
    if not np.isfinite(points).all():
        raise ValueError(
            f"data hold {int(np.sum(~np.isfinite(points)))} values that are not finite; leave "
            "those points out"
        )
    return points


def check_resolution(location: Any, sd: Any, dtype: Any) -> None:
    """Refuse draws whose float type cannot resolve their spread.

    Parameters
    ----------
    location, sd
        By coordinate, in float64.
    dtype
        The float type; whole numbers pass.

    Raises
    ------
    ValueError
        If numbers of that type are further apart, at the location, than a tenth of the sd.

    Examples
    --------
    >>> import numpy as np
    >>> check_resolution(2458000.123, 5e-4, np.float64)
    >>> check_resolution(2458000.123, 5e-4, np.float32)
    Traceback (most recent call last):
    ValueError: 1 of 1 coordinates are too narrow ... float32 numbers are 0.293 apart...
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        return
    location, sd = np.atleast_1d(np.abs(location)), np.atleast_1d(sd)
    spacing = float(jnp.finfo(dtype).eps) * location
    lost = np.argwhere((spacing > RESOLUTION * sd) & (sd > 0))
    if len(lost):
        place = tuple(lost[0])
        raise ValueError(
            f"{len(lost)} of {sd.size} coordinates are too narrow for their location: coordinate "
            f"{', '.join(map(str, place))} has mean {location[place]:.10g} and sd {sd[place]:.3g}, "
            f"where {jnp.dtype(dtype)} numbers are {spacing[place]:.3g} apart; keep them in "
            "float64 and subtract the mean (numpyro_score.scores.Whitening does), or call "
            "numpyro.enable_x64() first"
        )


def check_scale(scale: float, dtype: Any) -> None:
    """Refuse draws whose squares, or those of their noise, overflow or vanish.

    Parameters
    ----------
    scale
        Their overall sd.
    dtype
        Of the computation.

    Raises
    ------
    ValueError
        If the scale is outside of the limits.

    Examples
    --------
    >>> import numpy as np
    >>> check_scale(1e-30, np.float64)
    >>> check_scale(1e-30, np.float32)
    Traceback (most recent call last):
    ValueError: the draws have an overall sd of 1e-30, but its square has to be well within...
    """
    limits = jnp.finfo(dtype)
    low, high = float(limits.tiny) ** SCALE_POWER, float(limits.max) ** SCALE_POWER
    if not low < scale < high:
        raise ValueError(
            f"the draws have an overall sd of {scale:.3g}, but its square has to be well within "
            f"{jnp.dtype(dtype)}: give them in units in which it is from {low:.0e} to {high:.0e}"
        )


def check_outliers(points: Float[np.ndarray, "num *event"]) -> None:
    """Refuse data nearly all of whose variance is that of a few points far away.

    Raises
    ------
    ValueError
        If it is so, in some coordinate.

    Examples
    --------
    >>> import numpy as np
    >>> check_outliers(np.append(np.linspace(0.0, 1.0, 999), 1e8)[:, None])
    Traceback (most recent call last):
    ValueError: a few outliers hold nearly all ... coordinate 0: point 999 is 1e+08, while half...
    """
    few = max(int(OUTLIER_SHARE * len(points)), 1)
    away, sd = np.abs(points - points.mean(axis=0)), points.std(axis=0)
    # that few points can hold the variance only if one of them is as far away
    is_far = (away.max(axis=0) > 0.9 * sd * math.sqrt(len(points) / few)) & (sd > 0)
    for place in np.argwhere(is_far):
        index = tuple(place)
        values = points[(slice(None), *index)]
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        order = np.argsort(-np.abs(values - middle))
        rest = values[order[few:]].std()
        if not (low < high < low + OUTLIER_RATIO * sd[index] and rest < OUTLIER_SHARE * sd[index]):
            continue
        raise ValueError(
            f"a few outliers hold nearly all of the variance of coordinate "
            f"{', '.join(map(str, index)) or 0}: point {order[0]} is {values[order[0]]:.3g}, while "
            f"half of the {len(points)} points lie in [{low:.3g}, {high:.3g}]; leave such points "
            "out, or transform the variable (its logarithm, say)"
        )


def moments(data: Data, axis: int | tuple[int, ...] = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of data, of shapes that broadcast to one point's; see `Standardisation`."""
    points = check_data(data)
    check_outliers(points)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if 0 not in axes:
        raise ValueError(f"axis is {axis} but has to hold 0, the axis of the points")
    mean = points.mean(axis=axes, keepdims=True)[0]
    sd = points.std(axis=axes, keepdims=True)[0]
    overall = float(np.sqrt(np.mean(sd**2)))
    return mean, np.maximum(sd, SMALLEST_SD * overall) if overall > 0 else np.ones_like(sd)
