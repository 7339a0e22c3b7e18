"""The progress bar of a training: steps, time left, the latest losses."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
from tqdm.auto import tqdm

from numpyro_score.training.job import TrainState

LOG_SECONDS = 10.0
"""How often a bar is written where it cannot be drawn over itself."""


def latest(values: np.ndarray) -> float:
    """The last value of the history that is a number, or NaN."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known[-1]) if known.size else float("nan")


type Tell = Callable[[int, int], None]
"""`(steps so far, steps in all)`."""


class Bar:
    """A bar over the steps of a training.

    Parameters
    ----------
    total
        Steps in all.
    progress
        Whether to show anything; or a function that is told the steps so far and those in all.
    """

    def __init__(self, total: int, *, progress: bool | Tell) -> None:
        is_shown = progress is True
        self._tell = progress if callable(progress) else None
        self._done, self._total = 0, total
        self._bar = tqdm(
            total=total,
            desc="compiling",
            disable=not is_shown,
            unit="step",
            leave=None,
            # without a terminal every update is a line of its own
            mininterval=0.1 if sys.stderr.isatty() else LOG_SECONDS,
        )
        self._is_shown = is_shown

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def start(self, done: int) -> None:
        """Begin to count time, after the steps that an earlier run has made."""
        self._bar.set_description("training", refresh=False)
        self._bar.initial = done
        self._bar.reset()
        self._advance(done)

    def _advance(self, num_steps: int) -> None:
        self._done += num_steps
        self._bar.update(num_steps)
        if self._tell is not None:
            self._tell(self._done, self._total)

    def update(self, state: TrainState, num_steps: int) -> None:
        """Show where a training is after `num_steps` more steps."""
        if self._is_shown:
            named = {"loss": state.train_loss, "held-out": state.held_out_loss}
            values = {name: latest(np.asarray(rows)) for name, rows in named.items()}
            text = ", ".join(f"{k} {v:.4g}" for k, v in values.items() if np.isfinite(v))
            self._bar.set_postfix_str(text, refresh=False)
        self._advance(num_steps)
