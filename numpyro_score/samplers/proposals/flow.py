"""The independence proposal of a score's probability flow, in steps that are one to one.

The flow is that of Song et al. (2021, arXiv:2011.13456); `monotone.py` has the steps.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.proposals.defensive import LearnedProposal, with_defensive
from numpyro_score.samplers.proposals.levels import LEAST_NOISE, noise_levels
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.samplers.steps import Score

NUM_STEPS = 24
"""Default steps of the flow: more raise the acceptance by less than a hundredth."""


@eqx.filter_jit
def _steps(noise: NoiseProcess, before: Array) -> tuple[Array, Array]:
    """When each step looks at the score, and by which factor it takes the noise down."""
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
    weight: float = 0.02,
    df: int = 5,
) -> LearnedProposal:
    """An independence proposal from a score and its noise process.

    An exact kernel with it stays exact, to rounding, for any number of steps and any score whose
    steps are one to one. For a learned score that is checked (determinants, `round_trip`), not
    proved; `path_proposal` is exact for every score.

    Parameters
    ----------
    score
        `score(u, t)` of one point, a vector, and a scalar time; a `ScoreModel` or any function.
    noise
        The process whose laws the score is of.
    dim
        Length of a point.
    num_steps
        Steps of the flow.
    least_noise
        Noise before the last step, which goes to none, in units of the data's sd.
    data_mean, data_sd
        Mean and sd of what the score was trained on, each one number or `(dim,)`; by default those
        of `data`, or 0 and 1.
    data
        Points `(num, dim)` of about the score's law, or None.
    center, factor
        Where the score was trained on `u` with `x = center + factor u`: `(dim,)` and a lower
        triangular matrix `(dim, dim)`, or sds `(dim,)`. By default `u` is `x`.
    weight, df
        Weight, in [0, 1), and degrees of freedom, a whole number, of the Student t beside the flow.

    Raises
    ------
    ValueError
        If a size, weight or shape cannot be one.
    TypeError
        If the numbers of steps or dimensions are not whole.

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
    return with_defensive(flow, center, factor, weight, df)
