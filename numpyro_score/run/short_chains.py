"""Short chains from given positions, to see of what region each is."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.compilation import compiled_loop
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE, mala, optimal_step_size
from numpyro_score.run.density import Positions
from numpyro_score.types import LogDensityFn, RngKey

NUM_STEPS = 200
"""MALA steps of each, of which the second half is kept."""

GAIN = 0.5
"""How fast the logarithm of a chain's step size follows its acceptance."""


def short_chains(
    logdensity_fn: LogDensityFn,
    starts: Float[np.ndarray, "num dim"],
    scale: Float[np.ndarray, " dim"],
    rng_key: RngKey,
) -> Positions:
    """Paths of short MALA chains, each with a step size of its own.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    starts
        Where they start.
    scale
        Scale of every coordinate.
    rng_key
        One key.

    Examples
    --------
    >>> starts = np.array([[0.0], [20.0]])
    >>> found = short_chains(lambda x: -0.5 * x @ x, starts, np.ones(1), jax.random.key(0))
    >>> found.points.shape, bool((abs(found.points) < 6).all())
    ((2, 100, 1), True)
    """
    dtype = jnp.result_type(float)
    given = jnp.asarray(starts, dtype), jnp.asarray(scale, dtype)
    return Positions(*(np.asarray(x, np.float64) for x in _run(logdensity_fn, *given, rng_key)))


@compiled_loop(eqx.filter_jit)
def _run(
    logdensity_fn: LogDensityFn, starts: Array, scale: Array, rng_key: RngKey
) -> tuple[Array, Array]:
    kernel, num = mala.build_kernel(), len(starts)

    def body(carry: tuple[Any, Array], rng_key: RngKey) -> tuple[Any, Any]:
        def one(key: RngKey, state: Any, log_step: Array) -> tuple[Any, Array]:
            state, info = kernel(key, state, logdensity_fn, jnp.exp(log_step), scale**2)
            return state, info.acceptance_rate

        states, log_steps = carry
        states, rates = jax.vmap(one)(jax.random.split(rng_key, num), states, log_steps)
        log_steps += GAIN * (rates - TARGET_ACCEPTANCE_RATE)
        return (states, log_steps), (states.position, states.logdensity)

    states = jax.vmap(lambda x: mala.init(x, logdensity_fn))(starts)
    first = jnp.full(num, jnp.log(optimal_step_size(starts.shape[1])), starts.dtype)
    keys = jax.random.split(rng_key, NUM_STEPS)
    _, path = jax.lax.scan(body, (states, first), keys)
    points, logdensity = jax.tree.map(lambda x: jnp.swapaxes(x[NUM_STEPS // 2 :], 0, 1), path)
    return points, logdensity
