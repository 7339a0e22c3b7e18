"""Scores of an unnormalised log density by Monte Carlo, without data or training.

The denoised point is the mean of the posterior of `x_0` given `x_t = x`,

    q(x_0) proportional to p(x_0) N(x; alpha x_0, sigma^2 I).

`ImportanceScore` uses weighted draws from a Gaussian (as the samplers of Huang et al. 2023,
arXiv:2307.02037, and Akhound-Sadegh et al. 2024, arXiv:2402.06121). `MalaScore` starts short MALA
chains from such draws. With a reference `N(m, v^2 I)`, at least as wide as the target, the proposal
is the posterior under the reference, and the weights are `p / reference`.

The score is the posterior mean of `(alpha x_0 - x) / sigma^2`, which has low variance at high
noise, and also that of `grad log p(x_0) / alpha`, which has low variance at low noise. For a
Gaussian of sd `v` the combination with weights `1 - k` and `k`, `k = alpha^2 v^2 / (alpha^2 v^2 +
sigma^2)`, has no Monte Carlo error (De Bortoli et al. 2024, arXiv:2402.08667).

An estimate is a deterministic function of `(x, t)`: its random key is derived from the model's key
and the bits of `x` and `t`. Calls are repeatable, and different points have independent errors.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive
from numpyro_score.scores.base import Event
from numpyro_score.types import LogDensityFn, RngKey, Scalar


class WeightedDraws(NamedTuple):
    """Weighted draws of `x_0` given a noised point.

    Attributes
    ----------
    points
        `(num, *event)`.
    log_weights
        `(num,)`, up to a constant.
    """

    points: Float[Array, "num *event"]
    log_weights: Float[Array, " num"]


class Reference(eqx.Module):
    """The Gaussian `N(mean, sd^2 I)` that proposals use as an approximation of the target.

    Parameters
    ----------
    mean
        A number, or a tuple of one per coordinate.
    sd
        At least as wide as the target. Infinite for a flat reference, which is suitable only for
        small noise.

    Raises
    ------
    ValueError
        If the sd is not above 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> mean, variance = Reference(mean=0.0, sd=1.0).posterior(
    ...     jnp.array([2.0]), jnp.ones(()), jnp.ones(())
    ... )
    >>> mean.tolist(), float(variance)
    ([1.0], 0.5)
    """

    mean: float | tuple[float, ...] = eqx.field(static=True, default=0.0)
    sd: float = eqx.field(static=True, default=math.inf)

    def __check_init__(self) -> None:
        if not self.sd > 0:
            raise ValueError(f"the reference's sd is {self.sd} but must be above 0")

    def posterior(self, x: Event, alpha: Array, sigma: Array) -> tuple[Event, Array]:
        """Mean and variance of `x_0` given `x`, under the reference."""
        precision = (alpha / sigma) ** 2 + self.sd**-2
        pull = alpha * x / sigma**2 + jnp.asarray(self.mean, x.dtype) * self.sd**-2
        return pull / precision, 1 / precision

    def propose(
        self,
        rng_key: RngKey,
        logdensity_fn: LogDensityFn,
        x: Event,
        alpha: Array,
        sigma: Array,
        num_samples: int,
    ) -> WeightedDraws:
        """Weighted draws of `x_0` given `x`."""
        mean, variance = self.posterior(x, alpha, sigma)
        z = jax.random.normal(rng_key, (num_samples, *x.shape), x.dtype)
        points = mean[None] + jnp.sqrt(variance) * z
        centre = jnp.asarray(self.mean, x.dtype)

        def log_weight(point: Array) -> Array:
            return logdensity_fn(point) + 0.5 * jnp.sum((point - centre) ** 2) * self.sd**-2

        log_weights = jax.vmap(log_weight)(points)
        return WeightedDraws(points, jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights))


def key_at(rng_key: RngKey, x: Event, t: Scalar) -> RngKey:
    """A key for the point and time, from their bits."""
    values = jnp.append(jax.lax.stop_gradient(x).reshape(-1), t).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(values, jnp.uint32)
    # hash each, so that patterns of signs or exponents do not cancel in the sum
    for _ in range(2):
        bits = (bits ^ (bits >> 16)) * jnp.uint32(0x9E3779B1)
    odd = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1
    return jax.random.fold_in(rng_key, jnp.sum((bits ^ (bits >> 15)) * odd, dtype=jnp.uint32))


class Posterior(eqx.Module):
    """Log density of `x_0` given one noised point, for kernels."""

    logdensity_fn: LogDensityFn
    x: Event
    alpha: Float[Array, ""]
    sigma: Float[Array, ""]

    def __call__(self, x0: Event) -> Float[Array, ""]:
        """Log density of `x_0`, up to a constant."""
        return self.logdensity_fn(x0) - 0.5 * jnp.sum(self.pull(x0) ** 2) * self.sigma**2

    def pull(self, x0: Event) -> Event:
        """`(alpha x_0 - x) / sigma^2`, whose posterior mean is the score."""
        return (self.alpha * x0 - self.x) / self.sigma**2

    def blend(self, local_sd: float | None) -> Array:
        """Coefficient of the control variate `grad log q`, whose posterior mean is 0."""
        if local_sd is None:
            return jnp.zeros_like(self.alpha)
        signal = (self.alpha * local_sd) ** 2
        return signal / (signal + self.sigma**2) / self.alpha


def check_density(logdensity_fn: LogDensityFn, local_sd: float | None) -> None:
    """Check that the log density can be called and that the width, if given, is positive."""
    if not callable(logdensity_fn):
        raise TypeError(
            f"logdensity_fn is a {type(logdensity_fn).__name__}, which cannot be called; give a "
            "function of one point"
        )
    if local_sd is not None:
        check_positive("local_sd", local_sd, hint="None uses no gradients")
