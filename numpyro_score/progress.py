"""Progress of long computations: one bar, a callback type, and chunks of about half a second.

A compiled loop cannot report. The host therefore runs it in chunks, and between two of them moves
a bar or calls a function of the user. `Pace` chooses the length of the chunks.
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

from tqdm.auto import tqdm

ProgressCallback: TypeAlias = Callable[[str, int, int], None]
"""`(phase, done, total)`: the name of what is running, the steps done, and those in all."""

LOG_SECONDS = 10.0
"""Seconds between two updates of a bar that is written to a file, where each is a new line."""

CHUNK_SECONDS = 0.5
"""Seconds that the device works between two reports, about."""

FIRST_CHUNK = 10
"""Steps of the first chunk, from which the speed is estimated."""

MAX_GROWTH = 4
"""Largest factor between two chunks: early steps may be faster than later ones."""


def can_draw_bars() -> bool:
    """Whether a bar can be drawn where messages go: a terminal, or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Bar:
    """A progress bar over the steps of one or several phases; a context manager.

    Parameters
    ----------
    total
        Number of steps, or None if it is not known.
    progress
        True shows the bar, False shows nothing, and a `ProgressCallback` is called instead.
    phase
        Name of the first phase, shown before the bar.
    unit
        Name of one step.
    leave
        Whether the bar stays on the terminal at the end. None: only if it is the outermost one.

    Examples
    --------
    >>> def report(phase: str, done: int, total: int) -> None:
    ...     print(f"{phase}: {done} of {total}")
    >>> with Bar(20, progress=report) as bar:
    ...     bar.start("training")
    ...     bar.update(10)
    training: 0 of 20
    training: 10 of 20
    """

    def __init__(
        self,
        total: int | None,
        *,
        progress: bool | ProgressCallback = True,
        phase: str = "compiling",
        unit: str = "step",
        leave: bool | None = None,
    ) -> None:
        self.is_shown = progress is True
        self._callback = progress if callable(progress) else None
        self._phase = phase
        self._done, self._total = 0, total
        self._bar = tqdm(
            total=total,
            desc=phase,
            disable=not self.is_shown,
            unit=unit,
            leave=leave,
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else LOG_SECONDS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def start(self, phase: str, total: int | None = None, *, done: int = 0) -> None:
        """Begin a phase: the clock starts again, so that the rate leaves out what came before.

        Parameters
        ----------
        phase
            Its name.
        total
            Number of steps; None keeps the number of before.
        done
            Steps that an earlier run has made.
        """
        self._phase, self._done = phase, done
        self._total = self._total if total is None else total
        if self.is_shown:
            self._bar.set_description(phase, refresh=False)
            # shown by `reset`, with steps of before that number would make a negative rate
            self._bar.initial = 0
            self._bar.reset(total=self._total)
            self._bar.initial = self._bar.n = self._bar.last_print_n = done
            self._bar.refresh()
        self._call()

    def update(self, num_steps: int, text: str = "", *, phase: str | None = None) -> None:
        """Move on by `num_steps`, with `text` behind the bar; `phase` renames what is running."""
        self._phase = self._phase if phase is None else phase
        self._done += num_steps
        if self.is_shown:
            self._bar.set_description(self._phase, refresh=False)
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(num_steps)
        self._call()

    def report(self, phase: str, done: int, total: int) -> None:
        """A `ProgressCallback`: shows the progress of something else in this bar."""
        if phase != self._phase or total != self._total:
            self.start(phase, total, done=done)
        else:
            self.update(done - self._done)

    def write(self, text: str) -> None:
        """Print a line beside the bar."""
        self._bar.write(text, file=sys.stderr)

    def describe(self, phase: str) -> None:
        """Rename what is running, and show it at once."""
        self._phase = phase
        self._bar.set_description(phase)

    def _call(self) -> None:
        if self._callback is not None:
            self._callback(self._phase, self._done, self._total or 0)


class TaskProgress:
    """Progress of a list of tasks that take seconds to minutes each; a context manager.

    On a terminal and in a notebook there is one bar, below which a task may show its own. In a log
    file or a pipe, where bars are hard to read, there is one line for each task that is done.

    Parameters
    ----------
    title
        Name of the whole.
    total
        Number of tasks, or None if it is not known.
    is_shown
        Whether to show anything.
    unit
        What a task is called.

    Examples
    --------
    >>> with TaskProgress("comparing", 2, is_shown=False) as progress:
    ...     progress.start("mala")
    ...     progress.done("converged")
    """

    def __init__(
        self, title: str, total: int | None = None, *, is_shown: bool = True, unit: str = "task"
    ) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._num_done = 0
        has_bar = is_shown and can_draw_bars()
        self._has_lines = is_shown and not has_bar
        self._bar = Bar(total, progress=has_bar, phase=title, unit=unit, leave=True)
        self._task = ""
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        if self._has_lines:
            several = "" if self._total == 1 else "s"
            in_all = "" if self._total is None else f" {self._total} {self._unit}{several}"
            self._line(f"{self._title}:{in_all}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.describe(self._title)
        self._bar.__exit__(kind, error, traceback)

    def start(self, task: str) -> None:
        """The next task begins."""
        self._task = task
        self._began = time.perf_counter()
        self._bar.describe(f"{self._title}: {task}")

    def done(self, outcome: str = "", seconds: float | None = None) -> None:
        """The task that began last is done.

        Parameters
        ----------
        outcome
            What came of it.
        seconds
            What it took where it began elsewhere; by default the time since `start`.
        """
        self._num_done += 1
        seconds = time.perf_counter() - self._began if seconds is None else seconds
        count = self._num_done if self._total is None else f"{self._num_done}/{self._total}"
        line = f"[{count}] {self._task}: {outcome or 'done'} ({seconds:.1f} s)"
        if self._has_lines:
            self._line(line)
        elif outcome and self._bar.is_shown:
            self._bar.write(line)
        self._bar.update(1)

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Pace:
    """Chooses the length of the next chunk, so that it takes about `CHUNK_SECONDS`.

    The first chunk has `FIRST_CHUNK` steps, and a chunk is at most `MAX_GROWTH` times as long as
    the measured speed of the last one and its length allow.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.num_steps
    10
    >>> pace.update(10, seconds=0.25)  # 40 steps a second
    >>> pace.num_steps
    20
    """

    def __init__(self) -> None:
        self._num_steps = float(FIRST_CHUNK)

    @property
    def num_steps(self) -> int:
        """Steps of the next chunk, at least 1."""
        return max(int(self._num_steps), 1)

    def update(self, num_steps: int, seconds: float) -> None:
        """Learn that a chunk of `num_steps` steps took `seconds`."""
        fitting = num_steps * CHUNK_SECONDS / max(seconds, 1e-6)
        self._num_steps = min(fitting, MAX_GROWTH * self._num_steps)
