"""Whether draws agree with the score that made them, by Stein's identity at two noise levels.

For draws `x` of a density with score `s`, `E[s_i] = 0` and `E[(x_i - c_i) s_i] = -1` for any
constant `c` (Stein 1972; Gorham and Mackey 2015, arXiv:1506.03039). Noise is added to the draws, so
that the identity can be tested with the score at levels where it varies slowly: at half of the
smallest sd of the draws, and at the largest, where modes are joined and a wrong mean or wrong
weights show too. For a Gaussian, minus the first mean times the sd of the draws is their bias in
sds, and minus the second is the ratio of their variance to the right one.

What it finds: draws that start too far from the data, noise that does not suit their scale, too few
steps, a score of another process. What it cannot find: a score that is wrong itself.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.compilation import at_once
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.start import noise_misfits, noise_range
from numpyro_score.samplers.steps import Score

NUM_DRAWS = 1024
"""Draws that are looked at, the first ones."""

FEWEST_DRAWS = 16
"""With fewer, errors of the means are not known."""

BIAS, SCALE = 0.15, 0.2
"""What a mean may deviate by: a bias in sds, a ratio of variances less 1."""

FALSE_ALARM = 0.01
"""Probability that draws which deviate by just that are warned of, of all means together."""

STEPS = "more or longer steps (num_steps=, or steps_per_level= and step_size=)"

ADVICE = {
    False: "give data_mean= and data_sd=, roughly those of the data, a process whose largest noise "
    f"is beyond that sd, or {STEPS}",
    True: f"take {STEPS}, and make sure that the score is of this noise process",
}
"""By whether mean and sd of the data were known."""

FLOOR = 0.1
"""Smallest sd of the data that draws can tell, in units of the noise that they keep."""


class Levels(NamedTuple):
    """The noise levels at which a sampler's score is known, in units of the data.

    Attributes
    ----------
    largest, smallest, kept
        Noise that draws start from, of the last time, and that they keep: the same, or 0.
    time_of, alpha
        Level -> time, time -> scale of the signal in the point that the score takes.
    has_moments
        Whether mean and sd of the data were known.
    """

    largest: Float[Array, ""]
    smallest: Float[Array, ""]
    kept: Float[Array, ""]
    time_of: Callable[[Array], Array]
    alpha: Callable[[Array], Array]
    has_moments: bool


def knows_moments(score: Score, data_sd: Any) -> bool:
    """Whether the sd of the data is given, or known to the score."""
    return data_sd is not None or getattr(score, "data_moments", None) is not None


def levels_of(
    score: Score, noise: NoiseProcess, end: Any, data_sd: Any, *, denoises: bool
) -> Levels | None:
    """Levels of a process; None for a score that is not one of noised data.

    Parameters
    ----------
    score, noise
        The score, and its process; an attribute `is_of_density` of the score may be False.
    end
        Time of the draws.
    data_sd
        The sd of the data, if it was given.
    denoises
        Whether the noise of that time is removed from the draws.
    """
    if not getattr(score, "is_of_density", True):
        return None
    largest, smallest = at_once(noise_range, noise, end)
    kept = jnp.zeros_like(smallest) if denoises else smallest
    has_moments = knows_moments(score, data_sd)
    return Levels(largest, smallest, kept, noise.time_of, noise.alpha, has_moments)


class Means(NamedTuple):
    """Means of Stein's identity at every level, and their standard errors, by coordinate.

    Attributes
    ----------
    bias, bias_error
        `-sd E[s]`.
    excess, excess_error
        `-E[(x - c) s] - 1`.
    """

    bias: Float[np.ndarray | Array, "level dim"]
    bias_error: Float[np.ndarray | Array, "level dim"]
    excess: Float[np.ndarray | Array, "level dim"]
    excess_error: Float[np.ndarray | Array, "level dim"]


@eqx.filter_jit
def stein_means(
    score: Score, levels: Levels, x: Float[Array, "draw ..."], at: Float[Array, " level"]
) -> Means:
    """Means over draws to which noise is added, so that they have that of each level.

    Parameters
    ----------
    score
        `score(x, t)` of one point.
    levels
        Of the score.
    x
        Draws, in units of the data.
    at
        Levels, none below the noise that draws keep.
    """
    center = x.mean(axis=0)

    def one(level: Array, key: Any) -> Means:
        time = levels.time_of(level)
        alpha = levels.alpha(time)
        added = jnp.sqrt(jnp.maximum(level**2 - levels.kept**2, 0.0))
        noised = x - center + added * jax.random.normal(key, x.shape, x.dtype)
        scores = alpha * jax.vmap(lambda y: score(alpha * y, time))(noised + center)
        biases = (-scores * noised.std(axis=0)).reshape(len(x), -1)
        excesses = (-noised * scores - 1).reshape(len(x), -1)
        root = math.sqrt(len(x))
        return Means(
            biases.mean(axis=0),
            biases.std(axis=0) / root,
            excesses.mean(axis=0),
            excesses.std(axis=0) / root,
        )

    # a fixed key: the same draws give the same answer
    return jax.vmap(one)(at, jax.random.split(jax.random.key(0), len(at)))


def _kept_alpha(levels: Levels) -> Array:
    """Scale of the signal in the draws."""
    return levels.alpha(levels.time_of(levels.kept))


def disagreements(score: Score, levels: Levels, draws: Float[np.ndarray, "draw ..."]) -> list[str]:
    """What is wrong with draws by their own score; empty if nothing is, or if they are too few.

    Parameters
    ----------
    score
        `score(x, t)` of one point.
    levels
        Of the score.
    draws
        Independent draws, as the sampler made them.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=20.0)
    >>> score = lambda x, t: -x / (5.0**2 + noise.variance(t))  # of N(0, 5^2) data
    >>> levels = levels_of(score, noise, 0.0, 5.0, denoises=False)
    >>> x = np.random.default_rng(0).normal(size=(500, 1))
    >>> disagreements(score, levels, 5 * x)
    []
    >>> disagreements(score, levels, 3 * x)
    ['draws do not agree with their score: the variance of coordinate 0 is about 0.4... times ...']
    """
    few, advice = draws[:NUM_DRAWS], ADVICE[levels.has_moments]
    finite = np.isfinite(few).reshape(len(few), -1).all(axis=1)
    found = []
    if not finite.all():
        found.append(f"{(~finite).sum()} of {len(few)} draws are not finite; {advice}")
    if finite.sum() < FEWEST_DRAWS:
        return found
    largest, smallest, kept = (float(x) for x in (levels.largest, levels.smallest, levels.kept))
    x = few[finite].astype(np.float64)
    if kept:
        x = x / float(at_once(_kept_alpha, levels))
    sds = x.reshape(len(x), -1).std(axis=0)
    if not levels.has_moments:
        of_data = np.sqrt(np.maximum(sds**2 - kept**2, (FLOOR * kept) ** 2))
        found += noise_misfits(of_data, largest, smallest)
    at = np.clip([sds.min() / 2, sds.max()], smallest, largest)
    means = stein_means(score, levels, jnp.asarray(x), jnp.asarray(at))
    told = _told(Means(*map(np.asarray, means)), at)
    if told is not None:
        found.append(f"draws do not agree with their score: {told}; {advice}")
    return found


def _told(means: Means, at: Float[np.ndarray, " level"]) -> str | None:
    """The largest deviation that is certain, in words."""
    num_means = means.bias.size + means.excess.size
    certain = NormalDist().inv_cdf(1 - FALSE_ALARM / num_means)
    beyond = {
        "bias": np.abs(means.bias) - BIAS - certain * means.bias_error,
        "excess": np.abs(means.excess) - SCALE - certain * means.excess_error,
    }
    # no number, of a score that is not finite, is not larger than 0
    kind = max(beyond, key=lambda kind: np.nan_to_num(beyond[kind], nan=-1.0).max())
    worst = np.nan_to_num(beyond[kind], nan=-1.0)
    if not worst.max() > 0:
        return None
    level, i = np.unravel_index(worst.argmax(), worst.shape)
    shown = (
        f"the mean of coordinate {i} is off by about {abs(means.bias[level, i]):.2g} sds"
        if kind == "bias"
        else f"the variance of coordinate {i} is about {1 + means.excess[level, i]:.2g} times that "
        "of the distribution with this score"
    )
    return f"{shown}, by the Stein identity with noise of sd {at[level]:.3g}"
