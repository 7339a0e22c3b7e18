"""The host's side of a run: chunks of about half a second, each handed on as it is drawn."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from numpyro_score.run.program import Buffers, Program, field, make_buffers, run_chunk
from numpyro_score.run.tree import Chunk

CHUNK_SECONDS = 0.5
"""How long the host leaves the device alone between two looks at the progress."""

FIRST_CHUNK = 10
"""Draws of the first chunk, from which the pace is told."""

BUFFER_BYTES = 2**26
"""Room for the draws of one chunk, at most."""


def compile_for(program: Program, state: Any, num_rows: int) -> Buffers:
    """Buffers for runs of up to `num_rows` draws a phase; compiles the program on the way."""
    row = jax.eval_shape(lambda s: {name: field(s, name) for name in program.fields}, state)
    row_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(row))
    fitting = max(min(num_rows, BUFFER_BYTES // max(row_bytes, 1)), 1)
    # a power of two, so that runs of other lengths find the same program
    buffers = make_buffers(program, state, 2 ** (fitting - 1).bit_length())
    zero = np.zeros((), np.int32)
    return jax.block_until_ready(run_chunk(program, state, buffers, zero, zero))[1]


def chunks(
    program: Program,
    state: Any,
    buffers: Buffers,
    num_steps: Mapping[str, int],
    done: Mapping[str, int],
) -> Iterator[tuple[Chunk, Any, int]]:
    """Draw phase after phase.

    Parameters
    ----------
    program, state, buffers
        What to run, from where, with room for a chunk.
    num_steps
        Phase -> steps, in order.
    done
        Phase -> draws that were made before `state`.

    Yields
    ------
    A chunk, the state after it, and how many steps it took.
    """
    capacity = len(jax.tree.leaves(buffers.fields)[0])
    thinning = program.thinning
    pace = float(FIRST_CHUNK)
    for phase, steps in num_steps.items():
        num_rows = -(-steps // thinning)
        row = done.get(phase, 0)
        while row < num_rows:
            # rows end with the phase: what thinning leaves over shortens the first
            skipped = num_rows * thinning - steps if row == 0 else 0
            now = program.layout.agree(min(num_rows - row, max(int(pace), 1), capacity))
            start = time.perf_counter()
            state, buffers = run_chunk(
                program, state, buffers, np.asarray(now, np.int32), np.asarray(skipped, np.int32)
            )
            chunk = _to_host(program, buffers, phase, row, now)
            # grow gently: the first steps of NUTS are not those of its warmed-up self
            elapsed = time.perf_counter() - start
            pace = min(now * CHUNK_SECONDS / max(elapsed, 1e-6), 4 * pace)
            row += now
            yield chunk, state, now * thinning - skipped


def _to_host(program: Program, buffers: Buffers, phase: str, first: int, num_rows: int) -> Chunk:
    """The buffers' first rows; sliced here, since on the device every length would compile."""

    def rows(x: np.ndarray) -> np.ndarray:
        return np.swapaxes(x[:num_rows], 0, 1).copy()

    draw = program.kernel.sample_field
    stats = dict(buffers.fields)
    unconstrained = stats.pop(draw)
    samples = unconstrained if buffers.constrained is None else buffers.constrained
    local = program.layout.to_host((samples, stats), axis=1)
    return Chunk(phase, first, *jax.tree.map(rows, local))
