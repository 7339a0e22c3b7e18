"""Draws of a consistency model, in one call of its network or in a few.

    x_0 = f(x_T, T),    then for each further time t:    x_t = a x_0 + b z,    x_0 = f(x_t, t)

with `a` and `b` such that `x_t` has the noise of time t: each step takes the point to the data and
adds noise again (Song et al. 2023, arXiv:2303.01469, algorithm 1). One step is fastest. Further
steps correct part of the errors of the first, such as points between two modes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from numpyro_score.checks import check_whole
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.grids import END, TimeGrid, check_grid, check_times, edm_times
from numpyro_score.samplers.sampler import DiffusionSampler
from numpyro_score.samplers.start import start_moments
from numpyro_score.samplers.steps import Event, LinearSteps
from numpyro_score.types import Scalar

Consistency = Callable[[Event, Scalar], Event]
"""`f(x, t)` of one point -> the point at the end of its path."""


def consistency(
    model: Consistency,
    noise: NoiseProcess,
    shape: Sequence[int],
    *,
    num_steps: int = 1,
    grid: TimeGrid | None = None,
    data_mean: Any = None,
    data_sd: Any = None,
) -> DiffusionSampler:
    """A sampler by a consistency model; its draws are approximate.

    Parameters
    ----------
    model
        A trained `ConsistencyModel`, or any `f(x, t)` of one point and a scalar time.
    noise
        The process that it was trained with.
    shape
        Shape of one point.
    num_steps
        Calls of the model for a draw; 1 or 2 are usual.
    grid
        The times at which it is called, and the last time, at which draws live. By default
        `edm_times` to the model's `end`.
    data_mean, data_sd
        Mean and sd of the data, for the Gaussian to start from; by default those of the model
        (trained models have them), or 0 if it has none.

    Raises
    ------
    ValueError
        If there is no step, the noise is not that of the model, the grid does not fall, or shapes
        do not match.
    TypeError
        If an argument is not of its kind, such as a score in place of a consistency model.

    Warns
    -----
    UserWarning
        If the noise does not suit the scale of the data.

    Examples
    --------
    The consistency function of N(3, 1) data is known:

    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> function = lambda x, t: 3.0 + (x - 3.0) / jnp.sqrt(1.0 + noise.variance(t))
    >>> sampler = consistency(function, noise, (1,), data_mean=3.0, data_sd=1.0)
    >>> draws = sampler.sample(jax.random.key(0), 2000)
    >>> sampler.evaluations, round(float(draws.mean())), round(float(draws.std()))
    (1, 3, 1)
    """
    if not isinstance(noise, NoiseProcess):
        raise TypeError(f"noise is a {type(noise).__name__}; a process such as VE() is needed")
    _check_model(model, noise)
    check_whole("num_steps", num_steps)
    if grid is None:
        grid = partial(edm_times, end=getattr(model, "end", END))
    check_grid(grid)
    times = jnp.asarray(grid(noise, num_steps))
    check_times(noise, times)
    start, after = times[:-1], times[1:]
    alpha, sigma = noise.alpha(after), noise.sigma(after)
    kept = alpha / alpha[-1]  # draws have the signal and the noise of the last time
    added = jnp.sqrt(jnp.maximum(sigma**2 - (kept * sigma[-1]) ** 2, 0.0))
    steps = LinearSteps(
        start,
        after,
        position=jnp.zeros_like(kept),
        score=kept,
        noise=added if num_steps > 1 else None,
    )
    mean, sd = start_moments(model, noise, times[-1], data_mean, data_sd)
    return DiffusionSampler(model, steps, tuple(shape), mean, sd)


def _check_model(model: Any, noise: NoiseProcess) -> None:
    """Refuse a score, and a model of another noise process."""
    if hasattr(model, "predict_noise"):
        raise TypeError(
            f"the model is a {type(model).__name__}, a score; train a consistency model of it "
            "first: fit_consistency(draws, teacher=score)"
        )
    own = getattr(model, "noise", noise)
    if not eqx.tree_equal(own, noise):
        raise ValueError(f"the noise is {noise}, but the model was trained with {own}; give that")
