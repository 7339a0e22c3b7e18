"""Where a sampler starts: a Gaussian with the moments of the data plus noise at the first time.

The distribution at the end of the noise process is that of the data plus the largest noise. The
Gaussian with its mean and sds is the closest Gaussian with independent coordinates. With mean 0 in
place of the data's, `sigma_max = 20` and modes of weights .2 and .8 at (-5, -5) and (5, 5), the
larger one gets a weight of .74.

Noise levels have to suit the scale of the data. Draws keep the noise of the last time, and that of
the first has to hide how the data are distributed. With the exact score of modes of weights .95 and
.05 at -10 and 10 (sd 1), a largest noise of 1/2, 1, 2 and 4 sds of the data gives the smaller mode
a weight of .024, .032, .043 and .050.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.compilation import at_once
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.steps import Score

Moments = tuple[Float[Array, "..."], Float[Array, "..."]]

LARGEST_LEFT = 0.3
"""Noise that draws may keep, in units of the smallest sd of the data: sds are 4% too large."""

SMALLEST_FIRST = 1.0
"""Noise that draws have to start from, in units of the largest sd of the data."""

CONSTANT = 1.001e-3
"""Coordinates of at most this sd, in units of all, are constant to a network."""


def data_moments(score: Score, data_mean: Any = None, data_sd: Any = None) -> Moments:
    """Mean and sd of the data: as given, else from the score, else 0.

    Parameters
    ----------
    score
        Its attribute `data_moments`, if it has one, is a pair, or None if they are not known.
    data_mean, data_sd
        Numbers or arrays that broadcast to a point's shape, or None.

    Raises
    ------
    ValueError
        An sd is below 0, or a value is not finite.

    Examples
    --------
    >>> mean, sd = data_moments(lambda x, t: -x, data_sd=2.0)
    >>> float(mean), float(sd)
    (0.0, 2.0)
    """
    known = getattr(score, "data_moments", None)
    mean, sd = (0.0, 0.0) if known is None else known
    mean = mean if data_mean is None else data_mean
    sd = sd if data_sd is None else data_sd
    if not np.isfinite(np.asarray(mean)).all():
        raise ValueError("data_mean is not finite; leave it out if it is not known")
    if not (np.isfinite(np.asarray(sd)) & (np.asarray(sd) >= 0)).all():
        raise ValueError("data_sd must be finite and 0 or more; leave it out if it is not known")
    dtype = jnp.result_type(float)
    return jnp.asarray(mean, dtype), jnp.asarray(sd, dtype)


def start_moments(
    score: Score, noise: NoiseProcess, end: Any, data_mean: Any = None, data_sd: Any = None
) -> Moments:
    """Mean and sd of the Gaussian that a sampler starts from, at t = 1.

    Parameters
    ----------
    score
        As of `data_moments`.
    noise
        The process.
    end
        Time of the draws.
    data_mean, data_sd
        As of `data_moments`.

    Raises
    ------
    ValueError
        As `data_moments` does.

    Warns
    -----
    UserWarning
        As `check_noise` does.
    """
    mean, sd = data_moments(score, data_mean, data_sd)
    first, last = at_once(noise_range, noise, end)
    if not isinstance(last, jax.core.Tracer):
        check_noise(sd, float(first), float(last))
    start_mean, start_sd = at_once(type(noise).prior, noise, mean, sd)
    return jnp.asarray(start_mean), jnp.asarray(start_sd)


def noise_range(noise: NoiseProcess, end: Any) -> tuple[Array, Array]:
    """Noise at t = 1 and at the last time, in units of the data."""
    return noise.ratio(1.0), noise.ratio(end)


def check_noise(sd: Any, first: float, last: float) -> None:
    """Warn if the noise does not suit the scale of the data.

    Parameters
    ----------
    sd, first, last
        As of `noise_misfits`; a traced sd is not looked at.

    Warns
    -----
    UserWarning
        For all that `noise_misfits` finds.
    """
    if not isinstance(sd, jax.core.Tracer):
        for text in noise_misfits(sd, first, last):
            warnings.warn(text, stacklevel=4)


def noise_misfits(sd: Any, first: float, last: float) -> list[str]:
    """What noise does not suit the scale of the data; empty if it does.

    Parameters
    ----------
    sd
        Of the data, by coordinate; 0 if it is not known.
    first, last
        Noise at the start and at the end of the draws, in units of the data.

    Returns
    -------
    A text if draws keep noise that is not small beside the smallest sd, and one if they start from
    noise less than the largest.

    Examples
    --------
    >>> noise_misfits(1.0, 20.0, 0.01)
    []
    """
    sds = np.ravel(np.asarray(sd, np.float64))
    sds = sds[sds > CONSTANT * np.sqrt(np.mean(sds**2))]
    if not sds.size:
        return []
    found = []
    hint = "take noise in units of the data (ladder_from_data), or fit_score, which chooses it"
    if last > LARGEST_LEFT * sds.min():
        excess = np.hypot(1.0, last / sds.min())
        found.append(
            f"draws keep noise of sd {last:.3g}, and the data have sd {sds.min():.3g} in one "
            f"coordinate, where draws will have {excess:.3g} times their sd; train with a smaller "
            f"smallest noise: {hint}"
        )
    if first < SMALLEST_FIRST * sds.max():
        found.append(
            f"draws start from noise of sd {first:.3g}, less than the sd of the data, "
            f"{sds.max():.3g}; modes that are further apart will have wrong weights; train with a "
            f"larger largest noise: {hint}"
        )
    return found
