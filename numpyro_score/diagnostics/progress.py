"""Progress of a list of things that take seconds to minutes each, on a terminal or in a log file.

On a terminal: one bar, under which each thing may show its own. Anywhere else (a log, a pipe): one
line for each thing done, for bars written to a file are unreadable.
"""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm.auto import tqdm

_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"


def shows_bars() -> bool:
    """Whether a bar can be drawn where messages go: a terminal, or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Progress:
    """Counts things done; a context manager.

    Parameters
    ----------
    title
        What is being done.
    total
        How many things there are; None if that is not known.
    is_shown
        Whether to show anything at all.

    Examples
    --------
    >>> with Progress("comparing", 2, is_shown=False) as progress:
    ...     progress.start("first")
    ...     progress.done("went well")
    """

    def __init__(self, title: str, total: int | None = None, *, is_shown: bool = True) -> None:
        self._title = title
        self._total = total
        self._count = 0
        self._has_bar = is_shown and shows_bars()
        self._has_lines = is_shown and not self._has_bar
        self._bar: tqdm | None = None
        self._name = ""
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        if self._has_bar:
            self._bar = tqdm(
                total=self._total, desc=self._title, bar_format=_FORMAT, dynamic_ncols=True
            )
        elif self._has_lines:
            in_all = "" if self._total is None else f" {self._total} in all"
            self._line(f"{self._title}:{in_all}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.set_description(self._title)
            self._bar.close()

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def start(self, name: str) -> None:
        """The next thing begins."""
        self._name = name
        self._began = time.perf_counter()
        if self._bar is not None:
            self._bar.set_description(f"{self._title}: {name}")

    def done(self, outcome: str = "") -> None:
        """The thing that began last is done."""
        self._count += 1
        seconds = time.perf_counter() - self._began
        place = self._count if self._total is None else f"{self._count}/{self._total}"
        text = f"[{place}] {self._name}: {outcome or 'done'} ({seconds:.1f} s)"
        if self._bar is not None:
            if outcome:
                self._bar.write(text, file=sys.stderr)
            self._bar.update()
        elif self._has_lines:
            self._line(text)
