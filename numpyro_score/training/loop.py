"""The host's side of a training: chunks of about half a second, until it ends.

The device does not wait for the host: while the host reads one chunk's result, the next one runs.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from numpyro_score.progress import Bar, Pace
from numpyro_score.training.checkpoint import Checkpoint
from numpyro_score.training.job import TrainingJob, TrainState
from numpyro_score.training.program import last_good, run
from numpyro_score.training.progress import describe

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


def train(job: TrainingJob, state: TrainState, bar: Bar, checkpoint: Checkpoint | None) -> Outcome:
    """Train from a state to the end, or to what ends it before.

    Parameters
    ----------
    job
        The training.
    state
        The state to continue from.
    bar
        Progress bar, updated after each chunk.
    checkpoint
        Checkpoint, updated after each chunk and at the end; or None.
    """
    num_steps, pace = int(job.num_steps), Pace()

    def launch(state: TrainState, step: int) -> tuple[TrainState, int]:
        end = min(step + pace.num_steps, num_steps)
        return run(job, state, jnp.asarray(end, jnp.int32)), end

    # compiles, and makes no step
    state = jax.block_until_ready(run(job, state, state.step))
    step = int(state.step)
    bar.start("training", done=step)
    stopped, ahead, is_paced, began = FINISHED, None, False, time.perf_counter()
    try:
        while step < num_steps and not bool(state.is_stopped):
            after, end = ahead or launch(state, step)
            # the device has the next chunk before this one is waited for and looked at
            ahead = launch(after, end) if is_paced and end < num_steps else None
            if not bool(after.is_good):
                state, stopped = last_good(job, state, after), NOT_FINITE
                break
            now = time.perf_counter()
            pace.update(end - step, now - began)
            began, is_paced = now, True
            bar.update(int(after.step) - step, describe(after) if bar.is_shown else "")
            state, step = after, end
            if checkpoint is not None:
                checkpoint.save(state)
    except KeyboardInterrupt:
        stopped = INTERRUPTED
    if checkpoint is not None:
        checkpoint.save(state, is_last=True)
    return Outcome(state, PATIENCE if bool(state.is_stopped) else stopped)
