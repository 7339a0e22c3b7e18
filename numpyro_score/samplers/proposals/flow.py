"""Independence proposals from a score's probability flow, in invertible steps.

The flow is that of Song et al. (2021, arXiv:2011.13456); the steps are in `monotone.py`.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.proposals.defensive import (
    HEAVY_DF,
    HEAVY_WEIGHT,
    LearnedProposal,
    with_defensive,
)
from numpyro_score.samplers.proposals.levels import LEAST_NOISE, noise_levels
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.samplers.steps import Score

NUM_STEPS = 24
"""Default number of steps: more raise the acceptance rate by less than .01."""


@eqx.filter_jit
def _steps(noise: NoiseProcess, before: Array) -> tuple[Array, Array]:
    """The time at which each step evaluates the score, and the factor by which it reduces noise."""
    after = jnp.append(before[1:], 0.0).astype(before.dtype)
    return noise.time_of(jnp.sqrt(before * (before + after) / 2)), after / before


def flow_proposal(
    score: Score,
    noise: NoiseProcess,
    dim: int,
    *,
    num_steps: int = NUM_STEPS,
    least_noise: float = LEAST_NOISE,
    data_mean: Any = None,
    data_sd: Any = None,
    data: Any = None,
    center: Any = 0.0,
    factor: Any = None,
    weight: float = HEAVY_WEIGHT,
    df: int = HEAVY_DF,
) -> LearnedProposal:
    """An independence proposal from a score and its noise process.

    A Metropolis-Hastings kernel with it is exact up to rounding, for any number of steps and any
    score whose steps are invertible. For a learned score invertibility is checked (determinants,
    `round_trip`) but not guaranteed; `path_proposal` is exact for every score.

    Parameters
    ----------
    score
        `score(u, t)` of one point, a vector, and a scalar time; a `ScoreModel` or any function.
    noise
        The noise process of the score.
    dim
        Length of a point.
    num_steps
        Number of steps.
    least_noise
        Noise before the last step, which removes it, in units of the data's sd.
    data_mean, data_sd
        Mean and sd of the score's training data, each one number or `(dim,)`; by default those of
        `data`, or 0 and 1.
    data
        Points `(num, dim)` of about the score's distribution, or None.
    center, factor
        For a score that was trained on `u` with `x = center + factor u`: `(dim,)`, and a lower
        triangular matrix `(dim, dim)` or sds `(dim,)`. By default `u` is `x`.
    weight, df
        Weight, in [0, 1), and degrees of freedom, a whole number, of the Student t component.

    Raises
    ------
    ValueError
        A size, weight or shape is not valid.
        TypeError
            The number of steps or dimensions is not a whole number.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.kernels import independence
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> score = lambda x, t: -x / (1.0 + noise.variance(t))  # of N(0, 1) data
    >>> proposal = flow_proposal(score, noise, 1, num_steps=8)
    >>> x, log_q = proposal.sample_and_log_prob(jax.random.key(0))
    >>> bool(abs(proposal.log_prob(jax.random.key(0), x) - log_q) < 1e-3)
    True
    >>> kernel = independence(lambda x: -0.5 * jnp.sum(x**2), proposal.as_independent())
    >>> state, info = kernel.step(jax.random.key(1), kernel.init(x))
    >>> bool(info.acceptance_rate > 0.5)
    True
    """
    levels = noise_levels(
        noise,
        dim,
        num_steps=num_steps,
        least_noise=least_noise,
        data_mean=data_mean,
        data_sd=data_sd,
        data=data,
    )
    times, ratios = _steps(noise, levels.ratios)
    flow = MonotoneFlow(score, noise, times, ratios, levels.start_mean, levels.start_sd)
    heavy = levels.data_mean, levels.data_sd
    return with_defensive(flow, heavy, center, factor, weight, df)
