"""Scores from an unnormalised log density by importance sampling; see `posterior`.

Huang et al. 2023, arXiv:2307.02037; Akhound-Sadegh et al. 2024, arXiv:2402.06121.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import Condition, Event, ScoreModel, refuse_condition
from numpyro_score.scores.posterior import (
    Posterior,
    Reference,
    WeightedDraws,
    check_density,
    key_at,
)
from numpyro_score.types import LogDensityFn, RngKey, Scalar


@final
class ImportanceScore(ScoreModel):
    """Score of a noised density by self-normalised importance sampling.

    Accurate where the proposal is close to the posterior: at small noise, in few dimensions, or
    with a reference near the target. `effective_sample_size` measures it.

    Parameters
    ----------
    logdensity_fn
        One point -> scalar log density, unnormalised.
    noise
        The process.
    rng_key
        Key of all random numbers; another key gives another estimate.
    num_samples
        Number of draws in each call.
    reference
        A Gaussian approximation of the target.
    local_sd
        Width of the target's modes. If given, gradients of the log density are used too, which
        removes most of the error at noise below it.

    Raises
    ------
    TypeError
        If the log density cannot be called.
    ValueError
        `num_samples` is below 1, or a width is not above 0.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> target, noise = lambda x: -0.5 * jnp.sum(x**2), VE(sigma_min=0.1, sigma_max=10.0)
    >>> model = ImportanceScore(target, noise, jax.random.key(0), num_samples=4000)
    >>> bool(abs(model.denoise(jnp.ones(1), 0.5)[0] - 0.5) < 0.05)
    True
    """

    logdensity_fn: LogDensityFn
    noise: NoiseProcess
    rng_key: RngKey
    num_samples: int = eqx.field(static=True)
    reference: Reference
    local_sd: float | None = eqx.field(static=True)

    def __init__(
        self,
        logdensity_fn: LogDensityFn,
        noise: NoiseProcess,
        rng_key: RngKey,
        num_samples: int = 1024,
        reference: Reference | None = None,
        local_sd: float | None = None,
    ):
        check_density(logdensity_fn, local_sd)
        check_whole("num_samples", num_samples)
        self.logdensity_fn = logdensity_fn
        self.noise = noise
        self.rng_key = rng_key
        self.num_samples = num_samples
        self.reference = Reference() if reference is None else reference
        self.local_sd = local_sd

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` and time `t`; NaN where all draws have density 0."""
        refuse_condition(self, y)
        posterior, draws = self._draws(x, t)
        weights = jax.nn.softmax(draws.log_weights)
        score = jnp.tensordot(weights, jax.vmap(posterior.pull)(draws.points), 1)
        if self.local_sd is not None:
            slopes = jax.vmap(jax.grad(posterior))(draws.points)
            score = score + posterior.blend(self.local_sd) * jnp.tensordot(weights, slopes, 1)
        return score.astype(x.dtype)

    def effective_sample_size(self, x: Event, t: Scalar) -> Float[Array, ""]:
        """Effective sample size of the weights, `1 / sum w^2`, from 1 to `num_samples`."""
        log_weights = self._draws(x, t)[1].log_weights
        return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))

    def _draws(self, x: Event, t: Scalar) -> tuple[Posterior, WeightedDraws]:
        alpha, sigma = (size.astype(x.dtype) for size in (self.noise.alpha(t), self.noise.sigma(t)))
        draws = self.reference.propose(
            key_at(self.rng_key, x, t), self.logdensity_fn, x, alpha, sigma, self.num_samples
        )
        return Posterior(self.logdensity_fn, x, alpha, sigma), draws
