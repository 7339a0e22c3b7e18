"""Scores from an unnormalised log density by short MALA chains; see `posterior`.

Huang et al. 2023, arXiv:2307.02037.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from numpyro_score.checks import check_positive, check_whole
from numpyro_score.deprecation import renamed_arguments
from numpyro_score.kernels.base import run_steps
from numpyro_score.kernels.mala import mala, optimal_step_size
from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import Condition, Event, ScoreModel, refuse_condition
from numpyro_score.scores.posterior import Posterior, Reference, check_density, key_at
from numpyro_score.types import LogDensityFn, RngKey, Scalar


@final
class MalaScore(ScoreModel):
    """Score of a noised density by MALA chains on the posterior of `x_0`.

    The chains start from resampled importance draws, which spread over the posterior's modes, and
    run in parallel. The first half of the steps is discarded as burn-in.

    Parameters
    ----------
    logdensity_fn, noise, rng_key, reference
        As of `ImportanceScore`.
    local_sd
        Width of the target's modes. It sets the step size at high noise, and gradients of the log
        density reduce the error at low noise. None uses the reference's sd and no gradients.
    num_inner_chains, num_steps
        Number of chains, and of MALA steps of each.
    num_samples
        Number of importance draws from which the chains' starting points are resampled.
    step_scale
        Factor of the step size; 1 is optimal for a Gaussian posterior.

    Raises
    ------
    TypeError
        If the log density cannot be called.
    ValueError
        A number is below 1, or a width or the step scale is not above 0.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> target, noise = lambda x: -0.5 * jnp.sum(x**2), VE(sigma_min=0.1, sigma_max=10.0)
    >>> model = MalaScore(target, noise, jax.random.key(0), num_inner_chains=64, local_sd=1.0)
    >>> bool(abs(model.denoise(jnp.ones(1), 0.5)[0] - 0.5) < 0.05)
    True
    """

    logdensity_fn: LogDensityFn
    noise: NoiseProcess
    rng_key: RngKey
    reference: Reference
    local_sd: float | None = eqx.field(static=True)
    num_inner_chains: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)
    num_samples: int = eqx.field(static=True)
    step_scale: float = eqx.field(static=True)

    @renamed_arguments(num_chains="num_inner_chains")
    def __init__(
        self,
        logdensity_fn: LogDensityFn,
        noise: NoiseProcess,
        rng_key: RngKey,
        reference: Reference | None = None,
        local_sd: float | None = None,
        num_inner_chains: int = 16,
        num_steps: int = 32,
        num_samples: int = 256,
        step_scale: float = 1.0,
    ):
        check_density(logdensity_fn, local_sd)
        check_whole("num_samples", num_samples)
        check_whole("num_inner_chains", num_inner_chains)
        check_whole("num_steps", num_steps)
        check_positive("step_scale", step_scale)
        self.logdensity_fn = logdensity_fn
        self.noise = noise
        self.rng_key = rng_key
        self.reference = Reference() if reference is None else reference
        self.local_sd = local_sd
        self.num_inner_chains = num_inner_chains
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
        chosen = jax.random.categorical(
            key_resample, draws.log_weights, shape=(self.num_inner_chains,)
        )
        width = self.reference.sd if self.local_sd is None else self.local_sd
        variance = 1 / ((alpha / sigma) ** 2 + width**-2)
        step_size = self.step_scale * optimal_step_size(x.size) * variance
        blend = posterior.blend(self.local_sd)
        kernel = mala.build_kernel()
        burnt_in = self.num_steps // 2

        def one_chain(rng_key: RngKey, start: Event) -> Event:
            def one_step(rng_key: RngKey, carry: tuple) -> tuple:
                state, total = carry
                state, _ = kernel(rng_key, state, posterior, step_size)
                value = posterior.pull(state.position) + blend * state.logdensity_grad
                return (state, total + jnp.where(state.step > burnt_in, value, 0.0)), None

            carry = mala.init(start, posterior), jnp.zeros_like(x)
            (_, total), _ = run_steps(one_step, rng_key, carry, self.num_steps)
            return total / (self.num_steps - burnt_in)

        keys = jax.random.split(key_chains, self.num_inner_chains)
        return jnp.mean(jax.vmap(one_chain)(keys, draws.points[chosen]), axis=0).astype(x.dtype)
