"""Shared by the proposals: `y = x / alpha`, noise levels, and the Gaussian to start from."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.steps import Score
from numpyro_score.types import Scalar

Point = Float[Array, " dim"]

LEAST_NOISE = 0.03
"""Default noise before the last step, in units of the data's sd."""


def denoised(score: Score, noise: NoiseProcess, y: Point, t: Scalar) -> Point:
    """`E[y_0 | y]` from a score, in `y = x / alpha`."""
    x = noise.alpha(t).astype(y.dtype) * y
    return noise.denoised(x, t, score(x, t)).astype(y.dtype)


class NoiseLevels(NamedTuple):
    """Levels of `rho = sigma / alpha`, and the Gaussian of `y = x / alpha` at the largest.

    Attributes
    ----------
    ratios
        `(num_steps,)`, decreasing; the level after the last one is 0.
    start_mean, start_sd
        Of the Gaussian, `(dim,)` each.
    data_mean, data_sd
        Of the data, `(dim,)` each.
    """

    ratios: Float[Array, " num_steps"]
    start_mean: Float[Array, " dim"]
    start_sd: Float[Array, " dim"]
    data_mean: Float[Array, " dim"]
    data_sd: Float[Array, " dim"]


@eqx.filter_jit
def _levels(
    noise: NoiseProcess, mean: Array, sd: Array, lowest: Array, num_steps: int
) -> NoiseLevels:
    highest = jnp.asarray(noise.ratio(1.0), mean.dtype)
    ratios = highest * (lowest / highest) ** jnp.linspace(0.0, 1.0, num_steps, dtype=mean.dtype)
    start_mean, start_sd = (
        jnp.asarray(value / noise.alpha(1.0), mean.dtype) for value in noise.prior(mean, sd)
    )
    return NoiseLevels(ratios, start_mean, start_sd, mean, sd)


def noise_levels(
    noise: NoiseProcess,
    dim: int,
    *,
    num_steps: int,
    least_noise: float,
    data_mean: Any,
    data_sd: Any,
    data: Any,
) -> NoiseLevels:
    """Noise levels that are evenly spaced in the logarithm.

    Parameters
    ----------
    noise
        The process.
    dim
        Length of a point.
    num_steps
        Number of levels.
    least_noise
        The last level, in units of the smallest of the data's sds.
    data_mean, data_sd
        Moments of the data, each one number or `(dim,)`; None for those of `data`, or 0 and 1.
    data
        Points `(num, dim)` or None.

    Raises
    ------
    ValueError, TypeError
        A size or a shape is not valid.
    """
    check_whole("dim", dim)
    check_whole("num_steps", num_steps)
    if data is not None:
        if np.ndim(data) != 2 or np.shape(data)[1] != dim:
            raise ValueError(f"data has shape {np.shape(data)}; give points (num, {dim})")
        points = np.asarray(data)
        data_mean = points.mean(axis=0) if data_mean is None else data_mean
        data_sd = points.std(axis=0) if data_sd is None else data_sd
    dtype = np.dtype(jnp.result_type(float))
    given = (0.0 if data_mean is None else data_mean, 1.0 if data_sd is None else data_sd)
    mean, sd = (np.broadcast_to(np.asarray(value, dtype), (dim,)) for value in given)
    lowest, highest = float(least_noise * sd.min()), float(noise.ratio(1.0))
    if not 0 < lowest < highest:
        raise ValueError(
            f"least_noise is {least_noise:g}, noise of {lowest:g} in the score's units, but must "
            f"be above 0 and below the largest noise of the process, {highest:g}"
        )
    return _levels(noise, jnp.asarray(mean), jnp.asarray(sd), jnp.asarray(lowest, dtype), num_steps)
