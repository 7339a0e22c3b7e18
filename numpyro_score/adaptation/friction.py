"""Friction of a persistent velocity: that of the widest direction, from all chains.

In whitened coordinates a direction of variance `l` needs the friction `1 / sqrt(l)`: with more the
chain diffuses in it, with less it oscillates. The largest variance decides, that of the direction
which the preconditioner has left longest (MEADS, Hoffman and Sountsov 2022, PMLR 151). MEADS
estimates it from the positions of all chains at one time, by a ratio of moments that falls short of
it; here the direction is followed over the whole warmup by power iteration, one step a window, and
its variance is that of all draws of the window. `a` is the direction, as a function of positions,
and

    l = Var(a . x) / (a^T P a),    a <- P^-1 Cov(x) a.

The first direction is that of the chains' positions at the end of the opening. There are no
matrices but `P`, so that a diagonal one stays cheap.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from numpyro_score.preconditioner import Preconditioner, scale_transpose

START = 1.0
"""Friction of the opening: that of a target of covariance `P`."""
NUM_ITERATIONS = 20
"""Power iterations for the first direction."""


class FrictionSearch(NamedTuple):
    """State of the search for a friction.

    Attributes
    ----------
    friction
        Friction to use.
    direction
        `a`, shape `(dim,)`; in units of one over the position.
    center
        A position near the mean, `(dim,)`.
    num_draws
        Draws in this window.
    shift
        Sum of `x - center` over them, `(dim,)`.
    cross
        Sum of `(x - center) a . (x - center)`, `(dim,)`.
    """

    friction: Float[Array, ""]
    direction: Float[Array, " dim"]
    center: Float[Array, " dim"]
    num_draws: Float[Array, ""]
    shift: Float[Array, " dim"]
    cross: Float[Array, " dim"]


def start_friction(position: Float[Array, "chain dim"]) -> FrictionSearch:
    """Start with `START`."""
    center = jnp.mean(position, axis=0)
    one, none = jnp.ones((), center.dtype), jnp.zeros_like(center)
    return FrictionSearch(START * one, jnp.ones_like(center), center, 0 * one, none, none)


def record_friction(
    search: FrictionSearch, position: Float[Array, "chain dim"], weight: Float[Array, " chain"]
) -> FrictionSearch:
    """Add one draw of every chain, of weight 0 or 1."""
    moved = jnp.where(weight[:, None] > 0, position - search.center, 0.0)
    return search._replace(
        num_draws=search.num_draws + jnp.sum(weight),
        shift=search.shift + jnp.sum(moved, axis=0),
        cross=search.cross + (moved @ search.direction) @ moved,
    )


def close_friction(
    search: FrictionSearch,
    position: Float[Array, "chain dim"],
    preconditioner: Preconditioner,
    since_opening: Int[Array, ""],
) -> FrictionSearch:
    """The search for the next window, with the friction that this one has found.

    Parameters
    ----------
    search
        The search at the end of a window.
    position
        Where the chains are, shape `(chain, dim)`.
    preconditioner
        `P` of the next window.
    since_opening
        Steps from the end of the opening to that of the window. Up to 0 no friction is found; at 0
        the next window takes its direction from the chains.
    """
    count = jnp.maximum(search.num_draws, 1.0)
    mean = search.shift / count
    along = search.cross / count - mean * (mean @ search.direction)  # Cov(x) a
    size = jnp.sum(scale_transpose(preconditioner, search.direction) ** 2)
    # the variance of a direction that was chosen before the draws: no maximum over noise
    found = jax.lax.rsqrt((search.direction @ along) / size)
    is_usable = jnp.isfinite(found) & (found > 0) & (search.num_draws > 2)
    center = search.center + jnp.where(search.num_draws > 0, mean, 0.0)
    away = jnp.where(jnp.isfinite(position), position - center, 0.0)

    def iterate(_: Array, direction: Array) -> Array:
        return _unit(preconditioner, _whiten(preconditioner, (away @ direction) @ away))

    first = jax.lax.fori_loop(
        0, NUM_ITERATIONS, iterate, _unit(preconditioner, jnp.ones_like(center))
    )
    new = _unit(preconditioner, _whiten(preconditioner, along))
    new = jnp.where(since_opening == 0, first, new)
    kept = jnp.where(jnp.all(jnp.isfinite(new)), new, search.direction)
    fresh = start_friction(position)
    return fresh._replace(
        friction=jnp.where(is_usable & (since_opening > 0), found, search.friction),
        direction=kept,
        center=center,
    )


def _whiten(preconditioner: Preconditioner, vector: Array) -> Array:
    """`P^-1 v`."""
    factor = preconditioner.factor
    if factor.ndim < 2:
        return vector / factor**2
    return jnp.linalg.solve(factor.T, jnp.linalg.solve(factor, vector))


def _unit(preconditioner: Preconditioner, direction: Array) -> Array:
    """The direction, its variance under `P` 1."""
    return direction / jnp.linalg.norm(scale_transpose(preconditioner, direction))
