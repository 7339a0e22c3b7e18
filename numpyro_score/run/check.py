"""The look at the draws with which a run ends, and the one warning that it may give."""

import warnings
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from numpyro_score.run.fields import REMARK
from numpyro_score.run.tree import SAMPLING, Chunk, Converter, join

PACKAGE = str(Path(__file__).parents[1])

NUM_DRAWS = 4_000
"""Draws of all chains that are kept for the check of a streamed run; at least `MIN_PER_CHAIN`."""

MIN_PER_CHAIN = 50

OF_JUMPS = ("is_global", "global_accept_prob", "local_accept_prob", "log_q")
"""Statistics of jumps that the check reads."""

MAX_BYTES = 2**27
"""Memory for them. Draws that need more are read from the store at the end."""


class KeptDraws:
    """Evenly spaced draws of a run that is streamed, so that its end need not read the store.

    Every draw at first; when there are twice as many as wanted, every second one is dropped.

    Parameters
    ----------
    num_chains
        Chains in all.
    num_committed
        Draws that an earlier run has committed, which are not seen here.
    """

    def __init__(self, num_chains: int, num_committed: int) -> None:
        self._wanted = max(NUM_DRAWS // num_chains, MIN_PER_CHAIN)
        self._is_whole = num_committed == 0
        self._stride = 1
        self._chunks: list[Chunk] = []
        self._num_kept = 0

    def add(self, chunk: Chunk) -> None:
        """Look at the next chunk."""
        if chunk.phase != SAMPLING or not self._is_whole:
            return
        row_bytes = sum(x[:, :1].nbytes for x in jax.tree.leaves(chunk.samples))
        part = _every(chunk, self._stride, -chunk.first % self._stride)
        if 2 * self._wanted * row_bytes > MAX_BYTES:
            self._is_whole, self._chunks = False, []
            return
        self._chunks.append(part)
        self._num_kept += part.num_draws
        while self._num_kept > 2 * self._wanted:
            self._stride *= 2
            whole = _every(join(self._chunks), 2, 0)
            self._chunks, self._num_kept = [whole], whole.num_draws

    def posterior(self, converter: Converter) -> xr.Dataset | None:
        """What was kept; None where the store has to be read."""
        if not self._is_whole or not self._chunks:
            return None
        kept = converter.posterior(join(self._chunks))
        # numbered as in the run, by which statistics of all of its draws are found
        return kept.assign_coords(draw=np.arange(kept.sizes["draw"]) * self._stride)


def _every(chunk: Chunk, stride: int, first: int) -> Chunk:
    samples = jax.tree.map(lambda x: np.ascontiguousarray(x[:, first::stride]), chunk.samples)
    return Chunk(chunk.phase, chunk.first, samples, {})


def warn(tree: xr.DataTree, kept: xr.Dataset | None) -> None:
    """Give a `ConvergenceWarning` if a run should not be used without a closer look.

    Parameters
    ----------
    tree
        The run.
    kept
        Evenly spaced draws of it, if they are at hand.
    """
    if "posterior" not in tree.children or jax.process_index() != 0:
        return
    if not any(values.size for values in tree["posterior"].data_vars.values()):
        return
    # what looks at draws is imported when there are some
    from numpyro_score.diagnostics import ConvergenceWarning, warn_if_not_converged

    if REMARK in tree.attrs:
        text = f"{tree.attrs['sampler']}: {tree.attrs[REMARK]}"
        warnings.warn(text, ConvergenceWarning, skip_file_prefixes=(PACKAGE,))
    if kept is None:
        warn_if_not_converged(tree)
        return
    checked = xr.DataTree.from_dict({"posterior": kept})
    if "sample_stats" in tree.children:
        wanted = ("diverging", "lp", "acceptance_rate", "longest_rejection", *OF_JUMPS)
        names = [n for n in wanted if n in tree["sample_stats"]]
        checked["sample_stats"] = xr.DataTree(tree["sample_stats"].to_dataset()[names])
    checked.attrs.update(tree.attrs)
    warn_if_not_converged(checked)
