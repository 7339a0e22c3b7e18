"""The progress bar of a run: phase, steps a second, acceptance, step size, divergences, R-hat."""

import sys
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
from tqdm.auto import tqdm

from numpyro_score.run.tree import SAMPLING, Chunk

RHAT_ROWS = 64
"""Draws of a chunk, evenly spaced, that the running R-hat looks at, so that it costs nothing."""

LOG_SECONDS = 10.0
"""How often a bar is written where it cannot be drawn over itself."""


class RunningRhat:
    """Largest R-hat over all scalar variables, from running moments of each chain.

    The plain statistic of Gelman and Rubin (1992, doi:10.1214/ss/1177011136), which a chunk updates
    without the draws before it; the ranked and split one is for the finished run.
    """

    def __init__(self) -> None:
        self._num_draws = 0
        self._mean: Any = 0.0
        self._scatter: Any = 0.0

    def update(self, samples: Any) -> float:
        """Add draws `(chain, draw, ...)`; NaN for one chain or too few draws."""
        leaves = [x[:, :: -(-x.shape[1] // RHAT_ROWS)] for x in jax.tree.leaves(samples)]
        flat = np.concatenate([x.reshape(*x.shape[:2], -1).astype(float) for x in leaves], axis=2)
        num_chains, added = flat.shape[:2]
        mean = flat.mean(axis=1)
        scatter = ((flat - mean[:, None]) ** 2).sum(axis=1)
        total = self._num_draws + added
        shift = mean - self._mean
        self._scatter = self._scatter + scatter + shift**2 * self._num_draws * added / total
        self._mean = self._mean + shift * added / total
        self._num_draws = total
        if num_chains < 2 or total < 2:
            return float("nan")
        within = (self._scatter / (total - 1)).mean(axis=0)
        between = self._mean.var(axis=0, ddof=1)
        ratio = np.divide(between, within, out=np.zeros_like(within), where=within > 0)
        return float(np.sqrt((total - 1) / total + ratio.max()))


class Bar:
    """A bar over the steps of both phases.

    Parameters
    ----------
    total
        Steps in all.
    is_shown
        Whether to show anything.
    """

    def __init__(self, total: int, *, is_shown: bool) -> None:
        self._bar = tqdm(
            total=total,
            desc="compiling",
            disable=not is_shown,
            unit="step",
            leave=None,  # a bar inside of another one clears itself
            # without a terminal every update is a line of its own
            mininterval=0.1 if sys.stderr.isatty() else LOG_SECONDS,
        )
        self._rhat = RunningRhat()
        self._is_shown = is_shown
        self._total = total

    def start(self, done: int) -> None:
        """Begin to count time, after the steps that an earlier run has made."""
        self._bar.unpause()
        self._bar.initial = done
        self._bar.reset(total=self._total)
        self._bar.update(done)

    def learn(self, phase: str, done: int, total: int) -> None:
        """Show how far a kernel has come with what it learns before the first step."""
        if not self._is_shown:
            return
        if self._bar.desc != f"{phase}: ":
            self._bar.set_description(phase, refresh=False)
            self._bar.reset(total=total)
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def say(self, text: str) -> None:
        """A line of its own, beside the bar."""
        self._bar.write(text)

    def update(self, chunk: Chunk, num_steps: int) -> None:
        """Show what a chunk of `num_steps` steps was like."""
        if self._is_shown:
            self._bar.set_description(chunk.phase, refresh=False)
            self._bar.set_postfix_str(self._describe(chunk), refresh=False)
        self._bar.update(num_steps)

    def _describe(self, chunk: Chunk) -> str:
        stats, parts = chunk.stats, []
        if "accept_prob" in stats:
            parts.append(f"accept {stats['accept_prob'].mean():.2f}")
        if "adapt_state.step_size" in stats:
            parts.append(f"step size {stats['adapt_state.step_size'][:, -1].mean():.2g}")
        if "diverging" in stats:
            parts.append(f"diverging {int(stats['diverging'].sum())}")
        if chunk.phase == SAMPLING:
            rhat = self._rhat.update(chunk.samples)
            if np.isfinite(rhat):
                parts.append(f"max R-hat {rhat:.3f}")
        return ", ".join(parts)
