"""Local chains from dispersed starts: each ends in a mode whose basin it started in.

Annealing from one wide distribution loses modes far from its centre, because intermediate
distributions give them too little mass. Short local chains at the target itself find every mode
whose basin they hit, with shares that are those of the basins and not of the target; annealing from
what they found (see `regions`) turns shares into weights.

Every chain has a step size of its own, since starts may be far out in the tails, and all share one
diagonal preconditioner. A search from many starts is also the first phase of the adaptive sampler
of Pompe, Holmes and Latuszynski (2020, doi:10.1214/19-AOS1916).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from numpyro_score.compilation import compiled_loop
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE, mala, optimal_step_size
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.types import RngKey

NUM_STEPS = 100
"""MALA steps of every chain."""

STRETCHES = (1.0, 1.0, 3.0, 10.0)
"""How many times as far from the reference's mean as its draws chains start, a quarter each."""

GAIN = 2.0
"""How fast the logarithm of a chain's step size follows its acceptance."""

LOG_STEPS = (-30.0, 5.0)
"""Range of the logarithm of a step size relative to that of a Gaussian target."""

MEDIAN_OF_SQUARE = 0.4549
"""Median of the square of a standard normal variable."""


class Dispersed(NamedTuple):
    """Where the chains ended.

    Attributes
    ----------
    positions
        `(num, dim)`.
    logdensity
        There.
    is_stretched
        Whether they started further out than draws of the reference.
    num_grad
        Gradients of the target.
    """

    positions: Float[Array, "num dim"]
    logdensity: Float[Array, " num"]
    is_stretched: Bool[np.ndarray, " num"]
    num_grad: int


@compiled_loop(eqx.filter_jit)
def _run(
    logdensity_fn: FlatLogDensity,
    reference: IndependentProposal,
    rng_key: RngKey,
    num: int,
    stretches: tuple[float, ...],
) -> tuple[Array, Array]:
    key_start, key_steps = jax.random.split(rng_key)
    starts = jax.vmap(lambda key: reference.sample_and_log_prob(key)[0])(
        jax.random.split(key_start, num)
    )
    center = jnp.mean(starts, axis=0, keepdims=True)
    stretch = jnp.resize(jnp.asarray(stretches, starts.dtype), (num,))
    starts = center + stretch[:, None] * (starts - center)
    kernel = mala.build_kernel()
    states = jax.vmap(lambda x: mala.init(x, logdensity_fn))(starts)

    def is_usable(states: Any) -> Bool[Array, " num"]:
        grads = jnp.all(jnp.isfinite(states.logdensity_grad), axis=1)
        return jnp.isfinite(states.logdensity) & grads

    def body(carry: tuple, rng_key: RngKey) -> tuple[tuple, None]:
        states, log_steps = carry
        # the median, because gradients of chains far out may be arbitrarily large
        square = jnp.nanmedian(
            jnp.where(is_usable(states)[:, None], states.logdensity_grad**2, jnp.nan), axis=0
        )
        variance = MEDIAN_OF_SQUARE / jnp.clip(square, 1e-18, 1e18)
        keys = jax.random.split(rng_key, num)

        def one(key: RngKey, state: Any, step_size: Array) -> tuple[Any, Array]:
            state, info = kernel(key, state, logdensity_fn, step_size, variance)
            return state, info.acceptance_rate

        states, rates = jax.vmap(one)(keys, states, jnp.exp(log_steps))
        log_steps = log_steps + GAIN * (rates - TARGET_ACCEPTANCE_RATE)
        return (states, jnp.clip(log_steps, *LOG_STEPS)), None

    first = jnp.full(num, jnp.log(optimal_step_size(starts.shape[1])), starts.dtype)
    (states, _), _ = jax.lax.scan(body, (states, first), jax.random.split(key_steps, NUM_STEPS))
    return states.position, jnp.where(is_usable(states), states.logdensity, -jnp.inf)


def run_dispersed_chains(
    logdensity_fn: FlatLogDensity,
    reference: IndependentProposal,
    rng_key: RngKey,
    num: int,
    stretches: tuple[float, ...] = STRETCHES,
) -> Dispersed:
    """Run short MALA chains from draws of a reference, or from draws stretched about its mean.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    reference
        Where chains start.
    rng_key
        One key.
    num
        How many chains.
    stretches
        How many times as far from the mean as draws of the reference they start, in turn.
    """
    positions, logdensity = _run(logdensity_fn, reference, rng_key, num, stretches)
    is_stretched = np.resize(np.asarray(stretches), (num,)) > 1
    return Dispersed(positions, logdensity, is_stretched, num * (NUM_STEPS + 1))
