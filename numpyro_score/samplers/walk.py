"""The path of a sample from noise to data: its state, one step, and the loop over all steps.

A sample has a key: its starting point uses `fold_in(key, 0)`, and step k `fold_in(key, k + 1)`.

The samplers are those of Song et al. 2021, arXiv:2011.13456.
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
    """State of a sample.

    Attributes
    ----------
    position
        The point.
    memory
        What the method carries from step to step, or None.
    num_made
        Number of steps made.
    time
        Current time; for annealed Langevin the next noise level.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import reverse_sde
    >>> from numpyro_score.scores import target_score
    >>> from numpyro_score.targets import two_modes
    >>> score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    >>> sampler = reverse_sde(score, score.noise, (2,), num_steps=20)
    >>> state = sampler.init(score.data_moments[0], jax.random.key(0))
    >>> state, info = sampler.step(jax.random.key(1), state)
    >>> state.position.shape, int(state.num_made), bool(state.time < 1)
    ((2,), 1, True)
    """

    position: Event
    memory: Memory
    num_made: Int[Array, ""]
    time: Float[Array, ""]


class DiffusionInfo(NamedTuple):
    """What happened in a step.

    Attributes
    ----------
    is_finished
        Whether this was the last step; further steps change nothing.
    num_evaluations
        Calls of the score so far.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import reverse_sde
    >>> from numpyro_score.scores import target_score
    >>> from numpyro_score.targets import two_modes
    >>> score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    >>> sampler = reverse_sde(score, score.noise, (2,), num_steps=20)
    >>> state = sampler.init(score.data_moments[0], jax.random.key(0))
    >>> state, info = sampler.step(jax.random.key(1), state)
    >>> bool(info.is_finished), int(info.num_evaluations)
    (False, 1)
    """

    is_finished: Bool[Array, ""]
    num_evaluations: Int[Array, ""]


class Trajectory(NamedTuple):
    """Samples at all times of their paths.

    Attributes
    ----------
    times
        `(num_steps + 1,)`.
    positions
        `(num_samples, num_steps + 1, *shape)`.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import reverse_sde
    >>> from numpyro_score.scores import target_score
    >>> from numpyro_score.targets import two_modes
    >>> score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    >>> sampler = reverse_sde(score, score.noise, (2,), num_steps=20)
    >>> path = sampler.trajectory(jax.random.key(0), 5)
    >>> path.times.shape, path.positions.shape
    ((21,), (5, 21, 2))
    """

    times: Float[np.ndarray, " knots"]
    positions: Float[np.ndarray, "num_samples knots ..."]


def row_of(steps: Steps, index: Int[Array, ""]) -> Steps:
    """A single row of the steps."""
    arrays, rest = eqx.partition(steps, eqx.is_array)
    return eqx.combine(jax.tree.map(lambda a: a[index], arrays), rest)


def advance(
    row: Steps, score: Score, rng_key: RngKey, x: Event, memory: Memory
) -> tuple[Event, Memory]:
    """One step, with noise drawn by the key."""
    num = row.num_noises
    shape = x.shape if num == 1 else (num, *x.shape)
    z = jax.random.normal(rng_key, shape, x.dtype) if num else None
    return row.advance(score, x, memory, z)


def walk(
    steps: Steps, score: Score, rng_key: RngKey, x: Event, *, keeps_path: bool = False
) -> tuple[Event, Memory, Event | None]:
    """Last point and memory, and with `keeps_path` all points after the first, else None."""
    arrays, rest = eqx.partition(steps, eqx.is_array)

    def body(carry: Any, xs: Any) -> tuple[Any, Any]:
        index, row = xs
        key = jax.random.fold_in(rng_key, index + 1)
        carry = advance(eqx.combine(row, rest), score, key, *carry)
        return carry, carry[0] if keeps_path else None

    xs = (jnp.arange(len(steps.time)), arrays)
    (x, memory), way = jax.lax.scan(body, (x, steps.remember(x)), xs)
    return x, memory, way
