"""A sample's way from noise to data: its state, one step, and the one loop over all steps.

A sample's start takes `fold_in(key, 0)` of its own key, and its step k `fold_in(key, k + 1)`.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.samplers.steps import Event, Memory, Score, Steps
from numpyro_score.types import RngKey


class DiffusionState(NamedTuple):
    """A sample on its way.

    Attributes
    ----------
    position
        The point.
    memory
        What the method keeps of the steps so far, or None.
    num_made
        Steps made.
    time
        Time reached; for annealed Langevin the next noise level.
    """

    position: Event
    memory: Memory
    num_made: Int[Array, ""]
    time: Float[Array, ""]


class DiffusionInfo(NamedTuple):
    """What a step was like.

    Attributes
    ----------
    is_finished
        Whether the way's end is reached; a step after it changes nothing.
    num_evaluations
        Calls of the score on the way so far.
    """

    is_finished: Bool[Array, ""]
    num_evaluations: Int[Array, ""]


class Trajectory(NamedTuple):
    """Samples and all of their way.

    Attributes
    ----------
    times
        `(num_steps + 1,)`.
    positions
        `(num_samples, num_steps + 1, *shape)`.
    """

    times: Float[np.ndarray, " knots"]
    positions: Float[np.ndarray, "num_samples knots ..."]


def row_of(steps: Steps, index: Int[Array, ""]) -> Steps:
    """A single row of a plan."""
    arrays, rest = eqx.partition(steps, eqx.is_array)
    return eqx.combine(jax.tree.map(lambda a: a[index], arrays), rest)


def advance(
    row: Steps, score: Score, rng_key: RngKey, x: Event, memory: Memory
) -> tuple[Event, Memory]:
    """One step, with its noise drawn."""
    num = row.num_noises
    shape = x.shape if num == 1 else (num, *x.shape)
    z = jax.random.normal(rng_key, shape, x.dtype) if num else None
    return row.advance(score, x, memory, z)


def walk(
    steps: Steps, score: Score, rng_key: RngKey, x: Event, *, keeps_way: bool = False
) -> tuple[Event, Memory, Event | None]:
    """Last point and memory; with `keeps_way` all points after the first, else None."""
    arrays, rest = eqx.partition(steps, eqx.is_array)

    def body(carry: Any, xs: Any) -> tuple[Any, Any]:
        index, row = xs
        key = jax.random.fold_in(rng_key, index + 1)
        carry = advance(eqx.combine(row, rest), score, key, *carry)
        return carry, carry[0] if keeps_way else None

    xs = (jnp.arange(len(steps.time)), arrays)
    (x, memory), way = jax.lax.scan(body, (x, steps.remember(x)), xs)
    return x, memory, way
