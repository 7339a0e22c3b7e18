"""What is trained and how, a training's state, and how a function of the two is compiled."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

ROWS = 100
"""Rows that a history has at most."""

NEVER = jnp.iinfo(jnp.int32).max
"""The step at which a loss that was always finite ceased to be."""


class TrainingJob(NamedTuple):
    """What is trained, on what, and how; arrays are traced, the rest is compiled in.

    Attributes
    ----------
    static
        The model without its parameters.
    loss, optimizer
        As given to `fit`.
    data
        Points `(num, *event)` on the device, or a pair of them and of conditions.
    held_out
        The like, `(num_batches, batch, *event)`, or None.
    rng_key
        Of the steps and of the held-out loss.
    num_steps, interval
        Steps of the whole training, and between two rows of the history.
    decay
        Of the running average of the parameters, or None.
    patience
        Rows without improvement after which to stop, or None.
    batch_size
        Points a step.
    mesh
        Devices that share a batch, or None.
    """

    static: Any
    loss: Any
    optimizer: optax.GradientTransformation
    data: Any
    held_out: Any
    rng_key: Any
    num_steps: Int[Array, ""]
    interval: Int[Array, ""]
    decay: Float[Array, ""] | None
    patience: Int[Array, ""] | None
    batch_size: int
    mesh: Mesh | None


class TrainState(NamedTuple):
    """A training at some step: all that is needed to go on.

    Attributes
    ----------
    params, opt_state, loss_state
        Of the model, the optimizer and a loss with a memory.
    average
        Running average of the parameters, or None.
    step
        Steps made.
    loss_sum
        Of the losses since the last row of the history.
    first_bad
        First step whose loss was not finite, `NEVER` if all were.
    is_good
        Whether no loss was bad, and all parameters are finite; looked at after each chunk.
    num_rows, train_loss, held_out_loss
        The history so far, `(ROWS,)`.
    best, best_row
        Parameters with the least held-out loss and their row, or None without patience.
    is_stopped
        Whether patience has run out.
    """

    params: Any
    opt_state: Any
    loss_state: Any
    average: Any
    step: Int[Array, ""]
    loss_sum: Float[Array, ""]
    first_bad: Int[Array, ""]
    is_good: Bool[Array, ""]
    num_rows: Int[Array, ""]
    train_loss: Float[Array, " rows"]
    held_out_loss: Float[Array, " rows"]
    best: Any
    best_row: Int[Array, ""]
    is_stopped: Bool[Array, ""]

    @property
    def result(self) -> Any:
        """Parameters to hand out: the best with patience, else the average, else the last."""
        if self.best is not None:
            return self.best
        return self.smooth

    @property
    def smooth(self) -> Any:
        """The average, where there is one, or the parameters."""
        return self.params if self.average is None else self.average


class Compiled[R]:
    """`jax.jit` for a function of a job, whose arrays are traced and whose rest is compiled in.

    Unlike `eqx.filter_jit` it does not wait for the result.

    Parameters
    ----------
    fn
        `(job, *args) -> result`, of pytrees of arrays besides the job.
    """

    def __init__(self, fn: Callable[..., R]) -> None:
        @partial(jax.jit, static_argnums=0)
        @wraps(fn)
        def traced(fixed: Any, arrays: TrainingJob, *args: Any) -> Any:
            structure, leaves = fixed
            return fn(eqx.combine(arrays, jax.tree.unflatten(structure, leaves)), *args)

        self._traced = traced

    def _arguments(self, job: TrainingJob) -> tuple[Any, TrainingJob]:
        arrays, rest = eqx.partition(job, lambda x: isinstance(x, jax.Array | np.ndarray))
        leaves, structure = jax.tree.flatten(rest)
        for leaf in leaves:
            check_hashable(leaf)
        return (structure, tuple(leaves)), arrays

    def __call__(self, job: TrainingJob, *args: Any) -> R:
        """The result.

        Raises
        ------
        TypeError
            If something that is compiled in cannot be hashed.
        """
        return self._traced(*self._arguments(job), *args)

    def shapes(self, job: TrainingJob, *args: Any) -> R:
        """Shapes and types of the result: all is traced, and nothing compiled."""
        return self._traced.eval_shape(*self._arguments(job), *args)


def check_hashable(leaf: Any) -> None:
    """Refuse a part of a job by which its program could not be found again.

    Raises
    ------
    TypeError
        If it has no hash.
    """
    try:
        hash(leaf)
    except TypeError as error:
        raise TypeError(
            f"a {type(leaf).__name__} in the model, the loss or the optimizer cannot be hashed, "
            "which finding its compiled program again needs; make it an array, an Equinox module "
            "or a function"
        ) from error
