"""Denoisers from an unnormalised log density alone, by Monte Carlo: no data, no training.

The denoised point is the mean of the posterior of `x_0` given `x_t = x`,

    q(x_0) proportional to p(x_0) N(x; alpha x_0, sigma^2 I).

`ImportanceScore` weighs draws of a Gaussian (used for samplers by Huang et al. 2023,
arXiv:2307.02037, and Akhound-Sadegh et al. 2024, arXiv:2402.06121); `MalaScore` starts short MALA
chains from such draws. With a reference `N(m, v^2 I)`, as wide as the target or wider, the
proposal is the posterior under the reference, and the weights are `p / reference` at the draw.

From posterior draws the score follows in two ways, the mean of `(alpha x_0 - x) / sigma^2`, exact
where noise is large, and the mean of `grad log p(x_0) / alpha`, exact where it is small. Of a
Gaussian of sd `v` their sum with weights `1 - k` and `k`, `k = alpha^2 v^2 / (alpha^2 v^2 +
sigma^2)`, has no Monte Carlo error at all (De Bortoli et al. 2024, arXiv:2402.08667).

Estimates are functions: the random numbers at `(x, t)` come from the model's key and the bits of
`x` and `t`, so that a call is repeatable and different points have different errors.
"""

import math
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.kernels import mala
from numpyro_score.kernels.mala import optimal_step_size
from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import Condition, Event, ScoreModel, refuse_condition
from numpyro_score.scores.mlp import check_sizes
from numpyro_score.types import LogDensityFn, RngKey, Scalar


class Draws(NamedTuple):
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
    """The Gaussian `N(mean, sd^2 I)` that proposals take for the target's outline.

    Parameters
    ----------
    mean
        A number, or a tuple of one per coordinate.
    sd
        As wide as the target or wider; infinite for none, which suits small noise alone.
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
    ) -> Draws:
        """Weighted draws of `x_0` given `x`."""
        mean, variance = self.posterior(x, alpha, sigma)
        z = jax.random.normal(rng_key, (num_samples, *x.shape), x.dtype)
        points = mean[None] + jnp.sqrt(variance) * z
        centre = jnp.asarray(self.mean, x.dtype)

        def log_weight(point: Array) -> Array:
            return logdensity_fn(point) + 0.5 * jnp.sum((point - centre) ** 2) * self.sd**-2

        log_weights = jax.vmap(log_weight)(points)
        return Draws(points, jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights))


def key_at(rng_key: RngKey, x: Event, t: Scalar) -> RngKey:
    """A key for the point and time, from their bits."""
    values = jnp.append(jax.lax.stop_gradient(x).reshape(-1), t).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(values, jnp.uint32)
    # scramble each, so that no pattern of signs or exponents cancels in the sum
    for _ in range(2):
        bits = (bits ^ (bits >> 16)) * jnp.uint32(0x9E3779B1)
    odd = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1
    return jax.random.fold_in(rng_key, jnp.sum((bits ^ (bits >> 15)) * odd, dtype=jnp.uint32))


class Posterior(eqx.Module):
    """The law of `x_0` given one noised point, as kernels take it."""

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
        """What times `grad log q` is added to `pull`: its mean is 0, and it takes variance away."""
        if local_sd is None:
            return jnp.zeros_like(self.alpha)
        signal = (self.alpha * local_sd) ** 2
        return signal / (signal + self.sigma**2) / self.alpha


@final
class ImportanceScore(ScoreModel):
    """Score of a noised density by self-normalised importance sampling.

    Good where draws of the proposal often hit the posterior: small noise, few dimensions, or a
    reference near the target. `effective_sample_size` says so.

    Parameters
    ----------
    logdensity_fn
        One point -> scalar log density, unnormalised.
    noise
        The process.
    rng_key
        Key of all random numbers; another key, another estimate.
    num_samples
        Draws for each call.
    reference
        The target's outline.
    local_sd
        Width of the target's modes: gradients of the log density are then used too, which takes
        away most of the error at noise below it. None: no gradients.

    Raises
    ------
    TypeError
        If the log density cannot be called.
    ValueError
        If there are no draws, or a width is not above 0.

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
        _check(logdensity_fn, local_sd)
        check_sizes(num_samples=num_samples)
        self.logdensity_fn = logdensity_fn
        self.noise = noise
        self.rng_key = rng_key
        self.num_samples = num_samples
        self.reference = Reference() if reference is None else reference
        self.local_sd = local_sd

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` and time `t`; NaN where no draw has a density."""
        refuse_condition(self, y)
        posterior, draws = self._draws(x, t)
        weights = jax.nn.softmax(draws.log_weights)
        score = jnp.tensordot(weights, jax.vmap(posterior.pull)(draws.points), 1)
        if self.local_sd is not None:
            slopes = jax.vmap(jax.grad(posterior))(draws.points)
            score = score + posterior.blend(self.local_sd) * jnp.tensordot(weights, slopes, 1)
        return score.astype(x.dtype)

    def effective_sample_size(self, x: Event, t: Scalar) -> Float[Array, ""]:
        """How many draws the weights leave, `1 / sum w^2`, from 1 to `num_samples`."""
        log_weights = self._draws(x, t)[1].log_weights
        return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))

    def _draws(self, x: Event, t: Scalar) -> tuple[Posterior, Draws]:
        alpha, sigma = (size.astype(x.dtype) for size in (self.noise.alpha(t), self.noise.sigma(t)))
        draws = self.reference.propose(
            key_at(self.rng_key, x, t), self.logdensity_fn, x, alpha, sigma, self.num_samples
        )
        return Posterior(self.logdensity_fn, x, alpha, sigma), draws


@final
class MalaScore(ScoreModel):
    """Score of a noised density by MALA chains on the posterior of the data point.

    Chains start from importance draws, so that they are spread over the posterior's modes as well
    as those say, and run in parallel. Their average leaves out the first half of the steps.

    Parameters
    ----------
    logdensity_fn, noise, rng_key, reference
        As of `ImportanceScore`.
    local_sd
        Width of the target's modes. It sets the step size where noise is large, and lets
        gradients take away the error where it is small. None: the reference's sd, no gradients.
    num_chains, num_steps
        Chains, and MALA steps of each.
    num_samples
        Importance draws that the chains' starts are drawn from.
    step_scale
        Factor of the step size; 1 is best for a Gaussian posterior.

    Raises
    ------
    TypeError
        If the log density cannot be called.
    ValueError
        If a number is below 1, or a width or the step scale is not above 0.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> target, noise = lambda x: -0.5 * jnp.sum(x**2), VE(sigma_min=0.1, sigma_max=10.0)
    >>> model = MalaScore(target, noise, jax.random.key(0), num_chains=64, local_sd=1.0)
    >>> bool(abs(model.denoise(jnp.ones(1), 0.5)[0] - 0.5) < 0.05)
    True
    """

    logdensity_fn: LogDensityFn
    noise: NoiseProcess
    rng_key: RngKey
    reference: Reference
    local_sd: float | None = eqx.field(static=True)
    num_chains: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    step_scale: float = eqx.field(static=True)

    def __init__(
        self,
        logdensity_fn: LogDensityFn,
        noise: NoiseProcess,
        rng_key: RngKey,
        reference: Reference | None = None,
        local_sd: float | None = None,
        num_chains: int = 16,
        num_steps: int = 32,
        num_samples: int = 256,
        step_scale: float = 1.0,
    ):
        _check(logdensity_fn, local_sd)
        check_sizes(num_samples=num_samples, num_chains=num_chains, num_steps=num_steps)
        if not step_scale > 0:
            raise ValueError(f"step_scale is {step_scale} but must be above 0")
        self.logdensity_fn = logdensity_fn
        self.noise = noise
        self.rng_key = rng_key
        self.reference = Reference() if reference is None else reference
        self.local_sd = local_sd
        self.num_chains = num_chains
        self.num_steps = num_steps
        self.num_samples = num_samples
        self.step_scale = step_scale

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` and time `t`."""
        refuse_condition(self, y)
        alpha, sigma = (size.astype(x.dtype) for size in (self.noise.alpha(t), self.noise.sigma(t)))
        key_propose, key_resample, key_chains = jax.random.split(key_at(self.rng_key, x, t), 3)
        draws = self.reference.propose(
            key_propose, self.logdensity_fn, x, alpha, sigma, self.num_samples
        )
        posterior = Posterior(self.logdensity_fn, x, alpha, sigma)
        chosen = jax.random.categorical(key_resample, draws.log_weights, shape=(self.num_chains,))
        width = self.reference.sd if self.local_sd is None else self.local_sd
        variance = 1 / ((alpha / sigma) ** 2 + width**-2)
        step_size = self.step_scale * optimal_step_size(x.size) * variance
        blend = posterior.blend(self.local_sd)
        kernel = mala.build_kernel()
        burnt_in = self.num_steps // 2

        def one_chain(rng_key: RngKey, start: Event) -> Event:
            def one_step(carry: tuple, key: RngKey) -> tuple:
                state, total = carry
                state, _ = kernel(key, state, posterior, step_size)
                value = posterior.pull(state.position) + blend * state.logdensity_grad
                return (state, total + jnp.where(state.step > burnt_in, value, 0.0)), None

            keys = jax.random.split(rng_key, self.num_steps)
            begin = mala.init(start, posterior)
            (_, total), _ = jax.lax.scan(one_step, (begin, jnp.zeros_like(x)), keys)
            return total / (self.num_steps - burnt_in)

        keys = jax.random.split(key_chains, self.num_chains)
        return jnp.mean(jax.vmap(one_chain)(keys, draws.points[chosen]), axis=0).astype(x.dtype)


def _check(logdensity_fn: LogDensityFn, local_sd: float | None) -> None:
    if not callable(logdensity_fn):
        raise TypeError(
            f"logdensity_fn is a {type(logdensity_fn).__name__}, which cannot be called; give a "
            "function of one point"
        )
    if local_sd is not None and not local_sd > 0:
        raise ValueError(f"local_sd is {local_sd} but must be above 0, or None for no gradients")
