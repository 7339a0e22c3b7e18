"""Draws kept in memory until the run ends."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from numpyro_score.run.layout import Layout
from numpyro_score.run.tree import Chunk, Converter, join


class Memory:
    """Sink that keeps every chunk.

    Parameters
    ----------
    converter
        Makes the groups, once, at the end.
    layout
        Which chains are drawn in this process; those of the others are fetched at the end.
    """

    def __init__(self, converter: Converter, layout: Layout) -> None:
        self._converter = converter
        self._layout = layout
        self._chunks: dict[str, list[Chunk]] = {}

    @property
    def rows(self) -> dict[str, int]:
        """Draws of each phase that an earlier run has left: none."""
        return {}

    def restore(self, state: Any) -> Any:
        """Where to go on from: `state`, since nothing was left by an earlier run."""
        return state

    def add(self, chunk: Chunk, state: Any, *, keep: bool) -> None:
        """Keep a chunk, if its draws are wanted; the state after it is of no use here."""
        del state
        if not keep:
            return
        self._chunks.setdefault(chunk.phase, []).append(chunk)

    def finish(self, attrs: Mapping[str, Any]) -> xr.DataTree:
        """The run as a tree, with `attrs` at its root."""
        groups: dict[str, xr.Dataset] = {}
        for chunks in reversed(list(self._chunks.values())):
            whole = join(chunks)
            samples, stats = self._layout.gather((whole.samples, whole.stats))
            whole = whole._replace(samples=samples, stats=stats)
            groups |= self._converter.groups(whole)
            if "observed_data" not in groups:
                groups |= self._converter.observed(whole)
        tree = xr.DataTree.from_dict(groups)
        tree.attrs.update(attrs)
        return tree

    def close(self) -> None:
        """Nothing to let go of."""
