"""Annealed Langevin dynamics: a few Langevin steps at each of a sequence of falling noise levels.

    x' = x + alpha_i / 2 s(x, sigma_i) + sqrt(alpha_i) z,
    alpha_i = alpha_L sigma_i^2 / sigma_L^2

(Song and Ermon 2019, arXiv:1907.05600). In units of the level's noise every level makes the same
step, `u = alpha_L / sigma_L^2`. A step multiplies deviations by `1 - u / 2`, so that the dynamics
diverge for `u >= 4`. The step size of the package's Langevin kernels is half of `alpha_i`.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.deprecation import renamed_arguments
from numpyro_score.noise import NoiseProcess, geometric_ladder, ladder_ratio
from numpyro_score.samplers.agreement import Levels, knows_moments
from numpyro_score.samplers.grids import END
from numpyro_score.samplers.sampler import DiffusionSampler
from numpyro_score.samplers.start import check_noise, data_moments
from numpyro_score.samplers.steps import Event, LinearSteps, Score, append
from numpyro_score.types import Scalar

LadderLevels = Sequence[float] | Float[np.ndarray | Array, " num_levels"]
SMALLEST_STEP = 1e-8
ROUNDING = 1e-12
CLOSEST = 1.25
"""Largest ratio of neighbouring levels in `default_ladder`."""
LONG_STEP = 0.5
"""Default step of the samplers for posteriors, in units of the last level's variance."""


def check_ladder(ladder: LadderLevels) -> Float[np.ndarray, " num_levels"]:
    """The levels as an array, after checks.

    Raises
    ------
    ValueError
        There is no level, one is not above 0, or they do not decrease.
    """
    sigmas = np.asarray(ladder, np.float64)
    if sigmas.ndim != 1 or sigmas.size == 0:
        raise ValueError(
            f"the ladder has shape {sigmas.shape}; give a vector of noise levels, such as "
            "geometric_ladder(10.0, 0.01, 10) or ladder_from_data(data).sigmas"
        )
    if not (np.isfinite(sigmas) & (sigmas > 0)).all() or not (np.diff(sigmas) < 0).all():
        raise ValueError(
            f"the ladder goes {sigmas[0]:g} .. {sigmas[-1]:g} and does not fall at every level; "
            "give levels above 0, from the largest to the smallest"
        )
    return sigmas


def default_ladder(noise: NoiseProcess, dim: int) -> Float[np.ndarray, " num_levels"]:
    """Noise levels over the whole range of a process, close enough for `dim` dimensions.

    Neighbouring levels have a ratio of at most `ladder_ratio(dim)` and of at most `CLOSEST`: with
    more levels the dynamics have more steps to equilibrate, also where the noise of two levels
    overlaps.

    Parameters
    ----------
    noise
        The process.
    dim
        Dimensions of the data.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> len(default_ladder(VE(sigma_min=0.1, sigma_max=10.0), 2))
    22
    """
    top, bottom = float(noise.ratio(1.0)), float(noise.ratio(END))
    steps = math.log(top / bottom) / math.log(min(ladder_ratio(dim), CLOSEST))
    return geometric_ladder(top, bottom, max(2, math.ceil(steps) + 1))


def pick_step_size(ladder: LadderLevels, steps_per_level: int) -> float:
    """The step of annealed Langevin dynamics that best matches the noise of consecutive levels.

    For data at one point, the noise has variance `gamma^2` at the start of a level, in units of
    that level's variance, and after T steps

        (1 - u/2)^(2T) (gamma^2 - c) + c,    c = 1 / (1 - u/4),    u = alpha_L / sigma_L^2.

    The returned step brings this nearest to 1 (Song and Ermon 2020, arXiv:2006.09011, technique 4,
    whose step is half of this one). `gamma` is the ladder's largest ratio.

    The rule considers only the noise. Data that vary in every direction need longer steps to
    equilibrate at levels near their own scale: with 35 levels from 20 to .01 and 20 steps each, the
    sd of a Gaussian of sd .55 is too large by 7% with this step, and by 3% with
    `alpha_L = sigma_L^2 / 2`.

    Parameters
    ----------
    ladder
        At least two decreasing noise levels.
    steps_per_level
        T, at least 1.

    Raises
    ------
    ValueError
        The ladder is not valid or has one level, or there is no step.

    Examples
    --------
    >>> from numpyro_score.noise import geometric_ladder
    >>> ladder = geometric_ladder(10.0, 0.1, 10)
    >>> pick_step_size(ladder, 100) < pick_step_size(ladder, 5) < 4 * 0.1**2
    True
    """
    from scipy.optimize import minimize_scalar

    sigmas = check_ladder(ladder)
    check_whole("steps_per_level", steps_per_level)
    if len(sigmas) < 2:
        raise ValueError("a ladder of one level has no ratio to choose a step from; give step_size")
    gamma = float((sigmas[:-1] / sigmas[1:]).max())

    def variance(log_u: float) -> float:
        u = math.exp(log_u)
        limit = 1 / (1 - u / 4)
        return (1 - u / 2) ** (2 * steps_per_level) * (gamma**2 - limit) + limit

    # above 1 everywhere, with one minimum below u = 2, where a step loses all memory
    best = minimize_scalar(
        variance, bounds=(math.log(SMALLEST_STEP), math.log(2)), method="bounded"
    )
    return float(math.exp(best.x) * sigmas[-1] ** 2)


@renamed_arguments(eps="step_size")
def annealed_langevin(
    score: Score,
    ladder: LadderLevels,
    shape: Sequence[int],
    *,
    steps_per_level: int = 100,
    step_size: float | None = None,
    noise: NoiseProcess | None = None,
    denoise: bool = False,
    data_mean: Any = None,
    data_sd: Any = None,
) -> DiffusionSampler:
    """A sampler by annealed Langevin dynamics.

    Parameters
    ----------
    score
        `score(x, sigma)` of data with noise of sd `sigma`. If `noise` is given, `score(x, t)` of
        that process, evaluated at the times at which `sigma / alpha` is the level.
    ladder
        Decreasing noise levels, in units of the data.
    shape
        Shape of one point.
    steps_per_level
        T, at least 1.
    step_size
        `alpha_L`, the step at the last level: above 0 and below `4 sigma_L^2`, by default
        `pick_step_size`. It is twice what the package's Langevin kernels call their step size.
    noise
        The process of a score that takes times.
    denoise
        Whether to end with `E[x_0 | x]`, which costs one more call.
    data_mean, data_sd
        Mean and sd of the data, for the Gaussian to start from; by default those of the score
        (trained models and mixtures have them), or 0 if it has none.

    Returns
    -------
    The sampler. The time in its state is the noise level, or the process's time if `noise` is
    given.

    Raises
    ------
    ValueError
        The ladder does not decrease, there is no step, the process has no such level, shapes do not
        match, or the step is so large that the dynamics diverge.
    TypeError
        An argument has the wrong type.

    Warns
    -----
    UserWarning
        If the noise does not suit the scale of the data; and when drawn, if the draws do not agree
        with the score.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import geometric_ladder
    >>> score = lambda x, sigma: -(x - 3.0) / (1.0 + sigma**2)  # of N(3, 1) data
    >>> ladder = geometric_ladder(10.0, 0.1, 10)
    >>> sampler = annealed_langevin(score, ladder, (1,), steps_per_level=20, step_size=0.01)
    >>> round(float(sampler.sample(jax.random.key(0), 2000).mean()))
    3
    """
    sigmas = check_ladder(ladder)
    check_whole("steps_per_level", steps_per_level)
    last = float(sigmas[-1])
    if step_size is None:
        step_size = pick_step_size(sigmas, steps_per_level)
    if not 0 < step_size < 4 * last**2 * (1 - ROUNDING):
        raise ValueError(
            f"step_size is {step_size:g} but must be above 0 and below 4 sigma_L^2 = "
            f"{4 * last**2:g}, where the dynamics diverges; leave it out to have it chosen"
        )
    level_score, times = (
        (score, jnp.asarray(sigmas)) if noise is None else of_ratio(score, noise, sigmas)
    )
    alpha = step_size * (sigmas / last) ** 2
    each = np.repeat(np.arange(len(sigmas)), steps_per_level)
    after = np.append(each[1:], each[-1])
    steps = LinearSteps(
        times[each],
        times[after],
        position=jnp.ones(len(each)),
        score=jnp.asarray(alpha[each] / 2, times.dtype),
        noise=jnp.asarray(np.sqrt(alpha[each]), times.dtype),
    )
    if denoise:
        one, zero = jnp.ones(()), jnp.zeros(())
        steps = append(steps, LinearSteps(times[-1], times[-1], one, jnp.asarray(last**2), zero))
    mean, sd = data_moments(score, data_mean, data_sd)
    check_noise(sd, float(sigmas[0]), last)
    sd = jnp.sqrt(sd**2 + sigmas[0] ** 2)
    first, smallest = jnp.asarray(sigmas[0]), jnp.asarray(last)
    levels = Levels(
        first,
        smallest,
        jnp.zeros_like(smallest) if denoise else smallest,
        _same if noise is None else noise.time_of,
        jnp.ones_like,  # the score is one of x / alpha
        knows_moments(score, data_sd),
    )
    return DiffusionSampler(level_score, steps, tuple(shape), mean, sd.astype(mean.dtype), levels)


def _same(level: Array) -> Array:
    """The time of a score that takes noise levels."""
    return level


def of_ratio(
    score: Score, noise: NoiseProcess, sigmas: Float[np.ndarray, " num_levels"]
) -> tuple[Score, Float[Array, " num_levels"]]:
    """Score of `x / alpha` as a function of time, and the times of the given noise levels.

    Raises
    ------
    ValueError
        The process has no such level.
    """
    levels = jnp.asarray(sigmas)
    times = noise.time_of(levels)
    if not np.allclose(noise.ratio(times), levels, rtol=1e-2):
        low, high = float(noise.ratio(0.0)), float(noise.ratio(1.0))
        raise ValueError(
            f"the ladder goes from {sigmas[0]:g} to {sigmas[-1]:g}, but {type(noise).__name__} has "
            f"noise from {low:g} to {high:g} times the signal; give levels within this range"
        )

    def level_score(x: Event, t: Scalar) -> Event:
        alpha = noise.alpha(t)
        return alpha * score(alpha * x, t)

    return level_score, times
