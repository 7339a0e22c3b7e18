"""Data in their own units: means and sds that a model carries, so that users never see them.

At noise `x = alpha x_0 + sigma z`, for data of mean m and sd v in a coordinate, the network sees

    u = (x - alpha m) / n,    n^2 = alpha^2 v^2 + sigma^2,

which has variance 1 at every noise level, and is itself a signal of size `a = alpha v / n` in noise
of size `s = sigma / n`, with `a^2 + s^2 = 1` (the scaling of inputs of Karras et al. 2022,
arXiv:2206.00364, per coordinate). A score in `u` over `n` is the score in `x`.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import Constant
from numpyro_score.types import Scalar

SMALLEST_SD = 1e-3
SMALLEST_NOISE = 1e-4

Data = Float[np.ndarray | Array, "num *event"]


class Standardised(NamedTuple):
    """A noised point in units of its noise level.

    Attributes
    ----------
    u
        The point, of the data's shape, variance 1.
    alpha, sigma
        Signal and noise in `u`, squares adding to 1; of shapes that broadcast to `u`'s.
    scale
        `n`, one unit of `u` in units of `x`.
    level
        Scalar log of noise over signal, in units of the data's overall sd.
    """

    u: Float[Array, "..."]
    alpha: Float[Array, "..."]
    sigma: Float[Array, "..."]
    scale: Float[Array, "..."]
    level: Float[Array, ""]


class Standardisation(eqx.Module):
    """Mean and sd of the data, which training does not touch.

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
        """One noised point in units of its noise level."""
        mean, sd = self.mean.like(x), self.sd.like(x)
        overall = jnp.sqrt(jnp.mean(sd**2))
        alpha = noise.alpha(t).astype(x.dtype)
        # a little noise at least: at none a model of the noise says nothing
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
            f"data have shape {points.shape}; at least one point is needed, shape (num, *event)"
        )
    if not np.isfinite(points).all():
        raise ValueError(
            f"data hold {int(np.sum(~np.isfinite(points)))} values that are not finite; leave "
            "those points out"
        )
    return points


def moments(data: Data, axis: int | tuple[int, ...] = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of data, of shapes that broadcast to one point's; see `Standardisation`."""
    points = check_data(data)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if 0 not in axes:
        raise ValueError(f"axis is {axis} but has to hold 0, the axis of the points")
    mean = points.mean(axis=axes, keepdims=True)[0]
    sd = points.std(axis=axes, keepdims=True)[0]
    overall = float(np.sqrt(np.mean(sd**2)))
    return mean, np.maximum(sd, SMALLEST_SD * overall) if overall > 0 else np.ones_like(sd)
