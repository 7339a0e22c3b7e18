"""What becomes of every chunk of draws: it is stored, checked, shown and timed."""

import time
from collections.abc import Iterable
from typing import Any

from numpyro_score.progress import Bar
from numpyro_score.run.check import KeptDraws
from numpyro_score.run.memory import Memory
from numpyro_score.run.progress import ChunkText
from numpyro_score.run.store import ZarrStore
from numpyro_score.run.tree import SAMPLING, WARMUP, Chunk


class Recording:
    """Records the chunks of a run.

    Parameters
    ----------
    sink
        Where draws are kept.
    kept
        Draws for the check at the end, where the sink does not keep them in memory; else None.
    bar
        Progress bar.
    state
        The state before the first chunk.
    keep_warmup
        Whether the draws of the warmup are kept.

    Attributes
    ----------
    state
        After the last chunk.
    seconds
        Phase -> seconds, with those of earlier calls that the run goes on from.
    is_complete
        Whether all chunks were drawn.
    """

    def __init__(
        self,
        sink: Memory | ZarrStore,
        kept: KeptDraws | None,
        bar: Bar,
        state: Any,
        *,
        keep_warmup: bool,
    ) -> None:
        self.state = state
        self.seconds = {WARMUP: 0.0, SAMPLING: 0.0} | sink.seconds
        self.is_complete = False
        self._sink = sink
        self._kept = kept
        self._bar = bar
        self._keep_warmup = keep_warmup
        self._text = ChunkText()
        self._began = time.perf_counter()

    def record(self, drawn: Iterable[tuple[Chunk, Any, int]]) -> None:
        """Record chunks until there are no more, or the user interrupts.

        Parameters
        ----------
        drawn
            Chunks, the state after each, and the steps that each took.
        """
        try:
            self._began = time.perf_counter()
            for chunk, state, steps in drawn:
                self.state = state
                self._count(chunk.phase)
                self._add(chunk, steps)
                self._count(chunk.phase)
            self.is_complete = True
        except KeyboardInterrupt:
            self._bar.write("interrupted: returning the draws so far (attribute complete=0)")

    def _count(self, phase: str) -> None:
        """Count the time since this was last done."""
        now = time.perf_counter()
        self.seconds[phase] += now - self._began
        self._began = now

    def _add(self, chunk: Chunk, steps: int) -> None:
        keep = self._keep_warmup or chunk.phase == SAMPLING
        self._sink.add(chunk, self.state, self.seconds, keep=keep)
        if self._kept is not None:
            self._kept.add(chunk)
        text = self._text(chunk) if self._bar.is_shown else ""
        self._bar.update(steps, text, phase=chunk.phase)
