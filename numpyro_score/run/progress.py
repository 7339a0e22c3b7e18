"""What the progress bar of a run says: acceptance, step size, divergences, running R-hat."""

from typing import Any

import jax
import numpy as np

from numpyro_score.run.tree import SAMPLING, Chunk

RHAT_ROWS = 64
"""Draws of a chunk, evenly spaced, that the running R-hat looks at, so that it costs nothing."""


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


class ChunkText:
    """Text behind the bar, from one chunk after the other."""

    def __init__(self) -> None:
        self._rhat = RunningRhat()

    def __call__(self, chunk: Chunk) -> str:
        """Acceptance, step size and divergences of a chunk, and R-hat of all draws so far."""
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
