"""Moves of inner chains: Markov kernels for one point, with a scale that is adapted from outside.

MALA: Roberts and Tweedie 1996, doi:10.2307/3318418. Gibbs sampling: Geman and Geman 1984,
doi:10.1109/TPAMI.1984.4767596.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE, mala, optimal_step_size
from numpyro_score.localization.base import Point
from numpyro_score.types import LogDensityFn, RngKey

Move: TypeAlias = Callable[
    [RngKey, Point, LogDensityFn, Float[Array, ""]], tuple[Point, Float[Array, ""]]
]
"""`(rng_key, x, logdensity_fn, scale) -> (x, acceptance rate)`."""


def mala_move(
    rng_key: RngKey, x: Point, logdensity_fn: LogDensityFn, scale: Float[Array, ""]
) -> tuple[Point, Float[Array, ""]]:
    """One MALA step.

    Parameters
    ----------
    rng_key
        One random key.
    x
        One point, any shape.
    logdensity_fn
        One point -> scalar log density.
    scale
        Approximate variance in the narrowest direction, which sets the step size.

    Returns
    -------
    The point after the step, and the acceptance rate.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> x, rate = mala_move(
    ...     jax.random.key(0), jnp.zeros(2), lambda x: -0.5 * jnp.sum(x**2), jnp.ones(())
    ... )
    >>> x.shape, bool(0 <= rate <= 1)
    ((2,), True)
    """
    step_size = scale * optimal_step_size(x.size)
    kernel = mala.build_kernel()
    state, info = kernel(rng_key, mala.init(x, logdensity_fn), logdensity_fn, step_size)
    return state.position, info.acceptance_rate


def gibbs_sweep(
    rng_key: RngKey, x: Point, logdensity_fn: LogDensityFn, scale: Float[Array, ""]
) -> tuple[Point, Float[Array, ""]]:
    """One Gibbs sweep over spins: each is drawn from its distribution given the others.

    Parameters
    ----------
    rng_key
        One random key.
    x
        Spins, any shape.
    logdensity_fn
        Spins -> scalar log probability, up to a constant.
    scale
        Not used: Gibbs moves have no scale.

    Returns
    -------
    The spins after the sweep, and the acceptance rate at which scales are not adapted.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> field = jnp.array([50.0, -50.0])  # strong, so that spins align with it
    >>> spins, _ = gibbs_sweep(
    ...     jax.random.key(0), jnp.array([-1.0, -1.0]), lambda x: jnp.dot(field, x), jnp.ones(())
    ... )
    >>> spins.tolist()
    [1.0, -1.0]
    """
    del scale
    flat = x.reshape(-1)

    def site(spins: Array, row: tuple) -> tuple[Array, None]:
        rng_key, i = row
        up, down = (logdensity_fn(spins.at[i].set(value).reshape(x.shape)) for value in (1.0, -1.0))
        is_up = jax.random.bernoulli(rng_key, jax.nn.sigmoid(up - down))
        return spins.at[i].set(jnp.where(is_up, 1.0, -1.0)), None

    rows = (jax.random.split(rng_key, flat.size), jnp.arange(flat.size))
    moved, _ = jax.lax.scan(site, flat, rows)
    return moved.reshape(x.shape), jnp.asarray(TARGET_ACCEPTANCE_RATE, x.dtype)
