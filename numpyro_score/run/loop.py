"""The host's side of a run: chunks of half a second, each handed on while the next is drawn."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from numpyro_score import progress
from numpyro_score.run.layout import Layout
from numpyro_score.run.program import Buffers, Program, field, make_buffers, run_chunk
from numpyro_score.run.tree import SAMPLING, Chunk, join

BUFFER_BYTES = 2**22
"""Room for the draws of one chunk on a CPU, at most: it stays in the cache. There are two."""

ACCELERATOR_BYTES = 2**28
"""The same on an accelerator, which is to be asked seldom."""

COMMIT_BYTES = 2**26
"""Draws that are written to disk together, at most."""


def num_fitting(program: Program, state: Any) -> int:
    """Draws of all chains for which a chunk has room, at least 1."""
    room = BUFFER_BYTES if program.layout.platform == "cpu" else ACCELERATOR_BYTES
    row = jax.eval_shape(lambda s: {name: field(s, name) for name in program.fields}, state)
    row_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(row))
    return max(room // max(row_bytes, 1), 1)


def compile_for(
    programs: Mapping[str, Program], state: Any, num_rows: int, arrays: Any = None
) -> tuple[Buffers, Buffers]:
    """Buffers for runs of up to `num_rows` draws a phase; compiles the programs on the way."""
    program = next(iter(programs.values())).bound(arrays)
    fitting = max(min(num_rows, num_fitting(program, state)), program.block or 1)
    # a power of two, so that runs of other lengths find the same program
    length = 2 ** (fitting - 1).bit_length()
    zero = np.zeros((), np.int32)
    first = make_buffers(program, state, length)
    for each in dict.fromkeys(programs.values()):
        first = run_chunk(each, state, first, zero, zero, arrays)[1]
    return jax.block_until_ready((first, make_buffers(program, state, length)))


class _Launched(NamedTuple):
    """A chunk that the device works on: its draws from `first` on, after `steps` steps."""

    phase: str
    first: int
    num_rows: int
    steps: int
    state: Any
    buffers: Buffers
    began: float


def chunks(
    programs: Mapping[str, Program],
    state: Any,
    buffers: tuple[Buffers, Buffers],
    num_steps: Mapping[str, int],
    done: Mapping[str, int],
    arrays: Any = None,
) -> Generator[tuple[Chunk, Any, int], None, tuple[Buffers, Buffers]]:
    """Draw phase after phase; the device draws the next chunk while the host handles one.

    Parameters
    ----------
    programs, state, buffers
        Phase -> what to run; from where; room for two chunks.
    num_steps
        Phase -> steps, in order.
    done
        Phase -> draws that were made before `state`.
    arrays
        Those among the model's arguments; None where they are compiled in.

    Yields
    ------
    A chunk, the state after it, and how many steps it took.

    Returns
    -------
    The buffers, for a run that goes on.
    """
    free = list(buffers)
    capacity = len(jax.tree.leaves(buffers[0].fields)[0])
    thinning = next(iter(programs.values())).thinning
    pace = progress.Pace()
    ready = 0.0
    launched: _Launched | None = None

    def launch(phase: str, row: int) -> _Launched:
        program = programs[phase]
        num_rows = -(-num_steps[phase] // thinning)
        # rows end with the phase: what thinning leaves over shortens the first
        skipped = num_rows * thinning - num_steps[phase] if row == 0 else 0
        block = program.block or 1
        wanted = min(num_rows - row, max(pace.num_steps, block), capacity)
        now = program.layout.agree(wanted - wanted % block)
        began = time.perf_counter()
        start = state if launched is None else launched.state
        after, filled = run_chunk(
            program,
            start,
            free[-1],
            np.asarray(now, np.int32),
            np.asarray(skipped, np.int32),
            arrays,
        )
        free.pop()
        return _Launched(phase, row, now, now * thinning - skipped, after, filled, began)

    for phase, steps in num_steps.items():
        row = done.get(phase, 0)
        while row * thinning < steps:
            interrupt: KeyboardInterrupt | None = None
            before = launched
            try:
                launched = launch(phase, row)
            except KeyboardInterrupt as pressed:
                # what has been drawn is handed on all the same
                interrupt, launched = pressed, None
            if before is not None:
                chunk = _to_host(programs[before.phase], before)
                free.append(before.buffers)
                pace.update(before.num_rows, time.perf_counter() - max(before.began, ready))
                ready = time.perf_counter()
                yield chunk, before.state, before.steps
            if launched is None:
                assert interrupt is not None
                raise interrupt
            row += launched.num_rows
    if launched is not None:
        yield _to_host(programs[launched.phase], launched), launched.state, launched.steps
        free.append(launched.buffers)
    first, second = free
    return first, second


def in_parts(
    programs: Mapping[str, Program],
    state: Any,
    buffers: tuple[Buffers, Buffers],
    num_steps: Mapping[str, int],
    done: Mapping[str, int],
    arrays: Any,
    *,
    next_look: Callable[[int], int | None],
    see: Callable[[Chunk], tuple[Chunk, bool]],
) -> Iterator[tuple[Chunk, Any, int]]:
    """As `chunks`, of a run whose end is decided on the way, by looks at it between its parts.

    Parameters
    ----------
    programs, state, buffers, num_steps, done, arrays
        As for `chunks`.
    next_look
        Kept draws per chain so far -> those at which to look again; None where the run ends.
    see
        Called with every chunk: what of it counts, and whether the run ends with it.
    """
    rows = dict(done)
    thinning = programs[SAMPLING].thinning
    while (look := next_look(rows.get(SAMPLING, 0))) is not None:
        part = {**num_steps, SAMPLING: look * thinning}
        drawing = chunks(programs, state, buffers, part, rows, arrays)
        while True:
            try:
                chunk, state, steps = next(drawing)
            except StopIteration as end:
                buffers = end.value
                break
            chunk, is_over = see(chunk)
            rows[chunk.phase] = chunk.first + chunk.num_draws
            yield chunk, state, min(steps, chunk.num_draws * thinning)
            if is_over:
                return


def gathered(
    drawn: Iterator[tuple[Chunk, Any, int]], layout: Layout
) -> Iterator[tuple[Chunk, Any, int]]:
    """Chunks of a phase joined to half a second's worth, for a sink to which each one is costly."""
    held: list[Chunk] = []
    state: Any = None
    steps, num_bytes, began = 0, 0, time.perf_counter()
    interrupt: KeyboardInterrupt | None = None

    def release() -> tuple[Chunk, Any, int]:
        whole = (join(held) if len(held) > 1 else held[0]), state, steps
        held.clear()
        return whole

    while True:
        try:
            chunk, after, made = next(drawn, (None, None, 0))
        except KeyboardInterrupt as pressed:
            # what has been drawn is handed on all the same
            chunk, interrupt = None, pressed
        if held and (chunk is None or chunk.phase != held[0].phase):
            yield release()
            steps, num_bytes, began = 0, 0, time.perf_counter()
        if chunk is None:
            break
        held.append(chunk)
        state, steps = after, steps + made
        num_bytes += sum(x.nbytes for x in jax.tree.leaves((chunk.samples, chunk.stats)))
        is_due = time.perf_counter() - began >= progress.CHUNK_SECONDS or num_bytes >= COMMIT_BYTES
        if layout.agree(int(is_due)):
            yield release()
            steps, num_bytes, began = 0, 0, time.perf_counter()
    if interrupt is not None:
        raise interrupt


def _to_host(program: Program, launched: _Launched) -> Chunk:
    """The buffers' first rows; sliced here, since on the device every length would compile."""

    def rows(x: np.ndarray) -> np.ndarray:
        # copied in the order of memory, which is several times as fast as chain by chain
        return np.swapaxes(x[: launched.num_rows].copy(), 0, 1)

    buffers = launched.buffers
    stats = dict(buffers.fields)
    unconstrained = stats.pop(program.kernel.sample_field)
    samples = unconstrained if buffers.constrained is None else buffers.constrained
    local = program.layout.to_host((samples, stats), axis=1)
    return Chunk(launched.phase, launched.first, *jax.tree.map(rows, local))
