"""The host's side of a training: chunks of about half a second, until it ends."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from numpyro_score.training.checkpoint import Checkpoint
from numpyro_score.training.program import Job, TrainState, last_good, run
from numpyro_score.training.progress import Bar

CHUNK_SECONDS = 0.5
"""How long the host leaves the device alone between two looks at the progress."""

FIRST_CHUNK = 10
"""Steps of the first chunk, from which the pace is told."""

FINISHED, PATIENCE, NOT_FINITE, INTERRUPTED = "finished", "patience", "not finite", "interrupted"
"""Why a training ended."""


class Outcome(NamedTuple):
    """How a training ended.

    Attributes
    ----------
    state
        The last good one.
    stopped
        Why it ended.
    """

    state: TrainState
    stopped: str


def train(job: Job, state: TrainState, bar: Bar, checkpoint: Checkpoint | None) -> Outcome:
    """Train from a state to the end, or to what ends it before.

    Parameters
    ----------
    job
        The training.
    state
        Where to go on from.
    bar
        Told of each chunk.
    checkpoint
        Told of each chunk, and of the end, or None.
    """
    num_steps = int(job.num_steps)
    # compiles, and makes no step
    state = jax.block_until_ready(run(job, state, state.step))
    bar.start(int(state.step))
    pace = float(FIRST_CHUNK)
    stopped = FINISHED
    try:
        while int(state.step) < num_steps and not bool(state.is_stopped):
            step = int(state.step)
            now = min(max(int(pace), 1), num_steps - step)
            began = time.perf_counter()
            after = run(job, state, jnp.asarray(step + now, jnp.int32))
            if not bool(after.is_good):
                state, stopped = last_good(job, state, after), NOT_FINITE
                break
            elapsed = time.perf_counter() - began
            pace = now * CHUNK_SECONDS / max(elapsed, 1e-6)
            state = after
            bar.update(state, int(state.step) - step)
            if checkpoint is not None:
                checkpoint.save(state)
    except KeyboardInterrupt:
        stopped = INTERRUPTED
    if checkpoint is not None:
        checkpoint.save(state, is_last=True)
    return Outcome(state, PATIENCE if bool(state.is_stopped) else stopped)
