"""Log densities along the probability flow, by the change-of-variables formula.

Along the flow `dx/dt = v(x, t)` the log density changes by the divergence of v,

    log p_s(x_s) = log p_1(x_1) + int_s^1 div v(x_t, t) dt

(Chen et al. 2018, arXiv:1806.07366; for diffusions Song et al. 2021, arXiv:2011.13456, appendix D).
The divergence is computed exactly or estimated from random signs (see `numpyro_score.divergence`;
Grathwohl et al. 2019, arXiv:1810.01367).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from numpyro_score.divergence import exact_divergence
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.adaptive import Tolerance
from numpyro_score.samplers.steps import Event, Score
from numpyro_score.types import Scalar

Trace = Callable[[Callable[[Event], Event], Event], tuple[Event, Float[Array, "..."]]]
"""A rule `(field, x)` -> the field and its divergence, or estimates of it, at x."""


class LogProbEstimate(NamedTuple):
    """An estimate of a log density.

    Attributes
    ----------
    log_prob
        Mean over the random signs. It is unbiased for the log density but not for the density, so
        that importance weights and acceptance probabilities must not use it.
    standard_error
        Standard error of that mean.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import probability_flow
    >>> from numpyro_score.scores import target_score
    >>> from numpyro_score.targets import two_modes
    >>> score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    >>> flow = probability_flow(score, score.noise, (2,), num_steps=20)
    >>> found = flow.approximate_log_prob(jax.random.key(0), score.data_moments[0])
    >>> found.log_prob.shape, bool(found.standard_error >= 0)
    ((), True)
    """

    log_prob: Float[Array, ""]
    standard_error: Float[Array, ""]


@eqx.filter_jit
def flow_log_prob(
    score: Score,
    noise: NoiseProcess,
    tolerance: Tolerance,
    x: Event,
    time: Scalar,
    start_mean: Event,
    start_sd: Event,
    trace: Trace = exact_divergence,
) -> tuple[Float[Array, "..."], Int[Array, ""]]:
    """Log density of the flow's distribution at `time`, at one point; at t = 1 it is Gaussian.

    Returns
    -------
    One log density for each divergence that the rule returns, and the number of calls of the rule.
    """

    def velocity(t: Array, y: tuple[Event, Array], args: object) -> tuple[Event, Array]:
        s, traces = trace(lambda x: score(x, t), y[0])
        rate = noise.drift_coefficient(t) * x.size - noise.squared_diffusion(t) * traces / 2
        return noise.probability_flow_drift(y[0], t, s), rate.astype(x.dtype)

    begin, end = jnp.asarray(time, x.dtype), jnp.ones((), x.dtype)
    of_trace = eqx.filter_eval_shape(lambda x: trace(lambda x: score(x, begin), x)[1], x)
    change = jnp.zeros(of_trace.shape, x.dtype)
    (last, change), calls = tolerance.integrate(velocity, (x, change), begin, end)
    terms = jax.scipy.stats.norm.logpdf(last, start_mean, start_sd)
    return jnp.sum(terms) + change, calls
