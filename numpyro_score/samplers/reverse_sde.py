"""Draws by the time reversal of the noise process, with the score.

Song et al. 2021, arXiv:2011.13456. Draws start from the Gaussian in which the process ends.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from numpyro_score.checks import check_whole
from numpyro_score.compilation import at_once
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.agreement import levels_of
from numpyro_score.samplers.grids import TimeGrid, check_grid, check_times, edm_times
from numpyro_score.samplers.sampler import DiffusionSampler
from numpyro_score.samplers.start import start_moments
from numpyro_score.samplers.steps import Score, Steps
from numpyro_score.samplers.stochastic import Method, dpm_solver_sde


def plan(noise: NoiseProcess, num_steps: int, method: Method, grid: TimeGrid) -> Steps:
    """Steps of a method on a grid, after checks of both.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, or the grid's times cannot be used.
    """
    if not isinstance(noise, NoiseProcess):
        raise TypeError(f"noise is a {type(noise).__name__}; a process such as VP() is needed")
    if not callable(method):
        raise TypeError(
            f"method is {method!r}; a function of this package is needed, such as "
            "method=euler_maruyama"
        )
    check_grid(grid)
    check_whole("num_steps", num_steps)
    times = jnp.asarray(at_once(grid, noise, num_steps))
    check_times(noise, times)
    return at_once(method, noise, times)


def reverse_sde(
    score: Score,
    noise: NoiseProcess,
    shape: Sequence[int],
    *,
    num_steps: int = 100,
    method: Method = dpm_solver_sde,
    grid: TimeGrid = edm_times,
    denoise: bool = False,
    data_mean: Any = None,
    data_sd: Any = None,
) -> DiffusionSampler:
    """A sampler by the reverse diffusion from noise to data.

    Parameters
    ----------
    score
        `score(x, t)` of one point and a scalar time.
    noise
        The process for which the score was trained or derived.
    shape
        Shape of one point.
    num_steps
        Number of steps, each with one call of the score.
    method
        `euler_maruyama`, `reverse_diffusion`, `ancestral` or `dpm_solver_sde`.
    grid
        `uniform_times`, `quadratic_times`, `edm_times`, or a function like them.
    denoise
        Whether to end with `E[x_0 | x]`, which removes the noise that is left at the end of the
        grid and costs one more call.
    data_mean, data_sd
        Mean and sd of the data, for the Gaussian to start from; by default those of the score
        (trained models and mixtures have them), or 0 if it has none.

    Raises
    ------
    ValueError
        There is no step, the grid does not decrease or ends without noise, or shapes do not match.
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
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> score = lambda x, t: -(x - 3.0) / (1.0 + noise.variance(t))  # of N(3, 1) data
    >>> sampler = reverse_sde(score, noise, (1,), num_steps=20)
    >>> draws = sampler.sample(jax.random.key(0), 2000)
    >>> draws.shape, round(float(draws.mean())), round(float(draws.std()))
    ((2000, 1), 3, 1)
    """
    steps = plan(noise, num_steps, method, grid)
    mean, sd = start_moments(score, noise, steps.next_time[-1], data_mean, data_sd)
    levels = levels_of(score, noise, steps.next_time[-1], data_sd, denoises=denoise)
    if denoise:
        steps = steps.then_denoise(noise)
    return DiffusionSampler(score, steps, tuple(shape), mean, sd, levels)
