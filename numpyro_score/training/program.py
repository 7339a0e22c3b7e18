"""The compiled loop of a training: many steps in one dispatch, over data that stay on the device.

One program serves a training from its first chunk to its last, and the next one of the same shapes:
the number of steps to make, the training's length and the interval between rows are traced. Results
do not depend on how the steps are cut into chunks, so a training that is resumed ends with the same
bits. Resuming needs only the state.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.training.job import NEVER, ROWS, Compiled, TrainingJob, TrainState
from numpyro_score.training.losses.base import StatefulLoss


def _take(data: Any, places: Int[Array, "..."]) -> Any:
    return jax.tree.map(lambda leaf: leaf[places], data)


def _place(tree: Any, mesh: Mesh | None, *axes: Any) -> Any:
    """Spread leading axes over the devices, or with no axes copy the tree to all of them."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), tree)


def _draw_batch(job: TrainingJob, rng_key: Any) -> Any:
    """Points drawn with replacement: nothing to carry from step to step, and no shuffling."""
    num = len(jax.tree.leaves(job.data)[0])
    batch = _take(job.data, jax.random.randint(rng_key, (job.batch_size,), 0, num))
    return batch if job.mesh is None else _place(batch, job.mesh, job.mesh.axis_names)


def _evaluate(
    job: TrainingJob, params: Any, loss_state: Any, batch: Any, rng_key: Any
) -> tuple[Any, Any]:
    """Loss of a batch, a scalar, and the loss's next state."""
    model = eqx.combine(params, job.static)
    if isinstance(job.loss, StatefulLoss):
        value, loss_state = job.loss.update(model, batch, rng_key, loss_state)
    else:
        value = job.loss(model, batch, rng_key)
    if jnp.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise ValueError(
            f"the loss of a batch has shape {jnp.shape(value)} and type {jnp.result_type(value)} "
            "but must be one real number: the mean over the batch"
        )
    return value, loss_state


@Compiled
def start(job: TrainingJob, params: Any) -> TrainState:
    """State before the first step."""
    loss_state = None
    key_batch, key_loss = jax.random.split(jax.random.fold_in(job.rng_key, 2))
    if isinstance(job.loss, StatefulLoss):
        model = eqx.combine(params, job.static)
        loss_state = job.loss.init(model, _draw_batch(job, key_batch), key_loss)
    zero, nothing = jnp.zeros((), jnp.int32), jnp.full(ROWS, jnp.nan)
    return TrainState(
        params=params,
        opt_state=job.optimizer.init(params),
        loss_state=loss_state,
        average=None if job.decay is None else params,
        step=zero,
        loss_sum=jnp.zeros(()),
        first_bad=jnp.asarray(NEVER, jnp.int32),
        is_good=jnp.ones((), bool),
        num_rows=zero,
        train_loss=nothing,
        held_out_loss=nothing,
        best=None if job.patience is None else params,
        best_row=zero,
        is_stopped=jnp.zeros((), bool),
    )


def _step(job: TrainingJob, key: Any, i: Int[Array, ""], state: TrainState) -> TrainState:
    """One step of the optimizer on one batch."""
    key_batch, key_loss = jax.random.split(jax.random.fold_in(key, i))
    batch = _draw_batch(job, key_batch)

    def evaluate(params: Any) -> tuple[Any, Any]:
        return _evaluate(job, params, state.loss_state, batch, key_loss)

    (value, loss_state), grads = jax.value_and_grad(evaluate, has_aux=True)(state.params)
    # wrapped here: a wrapper made for each fit would be another function to compile for
    optimizer = optax.with_extra_args_support(job.optimizer)
    updates, opt_state = optimizer.update(
        grads, state.opt_state, state.params, value=value, progress=i / job.num_steps
    )
    params = _place(optax.apply_updates(state.params, updates), job.mesh)
    average = state.average
    if job.decay is not None:
        # few steps are averaged at first, so that where training started is soon forgotten
        decay = jnp.minimum(job.decay, (1 + i) / (10 + i))
        moved = optax.incremental_update(params, average, 1 - decay)
        average = jax.tree.map(lambda new, old: new.astype(old.dtype), moved, average)
    return state._replace(
        params=params,
        opt_state=opt_state,
        loss_state=loss_state,
        average=average,
        loss_sum=state.loss_sum + value.astype(state.loss_sum.dtype),
        first_bad=jnp.where(jnp.isfinite(value), state.first_bad, jnp.minimum(state.first_bad, i)),
    )


def _held_out_loss(job: TrainingJob, key: Any, state: TrainState) -> Float[Array, ""]:
    """Mean over the held-out batches, with the same random numbers at every look."""
    num_batches = len(jax.tree.leaves(job.held_out)[0])

    def add(i: Int[Array, ""], total: Float[Array, ""]) -> Float[Array, ""]:
        batch, key_batch = _take(job.held_out, i), jax.random.fold_in(key, i)
        value, _ = _evaluate(job, state.smooth, state.loss_state, batch, key_batch)
        return total + value.astype(total.dtype)

    return jax.lax.fori_loop(0, num_batches, add, jnp.zeros(())) / num_batches


def _record(job: TrainingJob, key: Any, state: TrainState) -> TrainState:
    """Write a row of the history; keep the best model, and stop if it was best long ago."""
    row = state.num_rows
    since = state.step - row * job.interval
    state = state._replace(
        num_rows=row + 1,
        train_loss=state.train_loss.at[row].set(state.loss_sum / since),
        loss_sum=jnp.zeros_like(state.loss_sum),
    )
    if job.held_out is None:
        return state
    value = _held_out_loss(job, key, state)
    state = state._replace(held_out_loss=state.held_out_loss.at[row].set(value))
    if job.patience is None:
        return state
    # a first value that is not a number is beaten by any
    is_best = ~(value >= state.held_out_loss[state.best_row]) & jnp.isfinite(value) | (row == 0)
    best_row = jnp.where(is_best, row, state.best_row)
    return state._replace(
        best=jax.tree.map(lambda new, old: jnp.where(is_best, new, old), state.smooth, state.best),
        best_row=best_row,
        is_stopped=row - best_row >= job.patience,
    )


@Compiled
def run(job: TrainingJob, state: TrainState, limit: Int[Array, ""]) -> TrainState:
    """Go on until `limit` steps are made, patience has run out or a loss was not finite."""
    key_steps, key_held_out = (jax.random.fold_in(job.rng_key, i) for i in (0, 1))
    limit = jnp.minimum(limit, job.num_steps)

    def is_going(state: TrainState) -> Bool[Array, ""]:
        return (state.step < limit) & ~state.is_stopped & (state.first_bad == NEVER)

    def to_next_row(state: TrainState) -> TrainState:
        row_end = jnp.minimum((state.num_rows + 1) * job.interval, job.num_steps)
        end = jnp.minimum(row_end, limit)
        state = jax.lax.fori_loop(
            state.step, end, lambda i, state: _step(job, key_steps, i, state), state
        )._replace(step=end)
        return jax.lax.cond(
            (end == row_end) & (state.first_bad == NEVER),
            lambda state: _record(job, key_held_out, state),
            lambda state: state,
            state,
        )

    state = jax.lax.while_loop(is_going, to_next_row, state)
    leaves = jax.tree.leaves((state.params, state.average))
    is_finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]).all()
    return state._replace(is_good=is_finite & (state.first_bad == NEVER))


def last_good(job: TrainingJob, before: TrainState, after: TrainState) -> TrainState:
    """The latest state between a good and a bad one that is good, by going the same way again."""
    low, high = int(before.step), min(int(after.first_bad) + 1, int(after.step))
    good = before
    probe = high - 1  # nearly always it is the step before
    while low < probe:
        state = run(job, before, jnp.asarray(probe, jnp.int32))
        if bool(state.is_good):
            good, low = state, probe
        else:
            high = probe
        probe = (low + high) // 2
    return good
