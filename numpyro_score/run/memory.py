"""Draws kept in memory until the run ends, and written to a netCDF file if there is to be one."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from numpyro_score.run.layout import Layout
from numpyro_score.run.tree import Chunk, Converter, join, plain_attrs


class Memory:
    """Sink that keeps every chunk.

    Parameters
    ----------
    converter
        Makes the groups, once, at the end.
    layout
        Which chains are drawn in this process; those of the others are fetched at the end.
    path
        netCDF file to write at the end, or None.
    """

    def __init__(self, converter: Converter, layout: Layout, path: Path | None) -> None:
        self._converter = converter
        self._layout = layout
        self._path = path
        self._chunks: dict[str, list[Chunk]] = {}

    @property
    def rows(self) -> dict[str, int]:
        """Draws of each phase that an earlier run has left: none."""
        return {}

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each phase that an earlier run took: none."""
        return {}

    def restore(self, state: Any) -> Any:
        """Where to go on from: `state`, since nothing was left by an earlier run."""
        return state

    def add(self, chunk: Chunk, state: Any, seconds: Mapping[str, float], *, keep: bool) -> None:
        """Keep a chunk, if its draws are wanted; state and seconds are of no use here."""
        del state, seconds
        if not keep:
            return
        self._chunks.setdefault(chunk.phase, []).append(chunk)

    def finish(self, attrs: Mapping[str, Any]) -> xr.DataTree:
        """The run as a tree, with `attrs` at its root.

        Raises
        ------
        RuntimeError
            If the draws cannot be converted; it says in which file they are as they were drawn.
        """
        whole = {phase: self._whole(chunks) for phase, chunks in self._chunks.items()}
        try:
            tree = self._tree(whole, attrs)
        except Exception as error:
            path = _save_raw(whole)
            raise RuntimeError(
                f"the draws could not be made an ArviZ tree ({type(error).__name__}: {error}). "
                f"They are kept as they were drawn in {path}; numpy.load reads it."
            ) from error
        if self._path is not None and jax.process_index() == 0:
            _write(tree, self._path)
        return tree

    def _whole(self, chunks: list[Chunk]) -> Chunk:
        whole = join(chunks)
        samples, stats = self._layout.gather((whole.samples, whole.stats))
        return whole._replace(samples=samples, stats=stats)

    def _tree(self, whole: Mapping[str, Chunk], attrs: Mapping[str, Any]) -> xr.DataTree:
        groups: dict[str, xr.Dataset] = {}
        for chunk in reversed(list(whole.values())):
            groups |= self._converter.groups(chunk)
            groups |= self._converter.observed(chunk)
        tree = xr.DataTree.from_dict(groups)
        tree.attrs.update(plain_attrs(attrs))
        return tree

    def close(self) -> None:
        """Nothing to let go of."""


def _write(tree: xr.DataTree, path: Path) -> None:
    """Write a netCDF file; elsewhere if that fails, with a warning that says where."""
    try:
        tree.to_netcdf(path, engine="h5netcdf")
        return
    except Exception as error:
        path.unlink(missing_ok=True)
        told = f"{path} could not be written ({type(error).__name__}: {error})"
    elsewhere = Path(tempfile.mkdtemp(prefix="numpyro_score-")) / path.name
    try:
        tree.to_netcdf(elsewhere, engine="h5netcdf")
        told += f"; the draws are in {elsewhere}, and are returned"
    except Exception:
        told += "; the draws are in memory alone: sample returns them"
    warnings.warn(told, RuntimeWarning, stacklevel=4)


def _save_raw(whole: Mapping[str, Chunk]) -> Path:
    """All arrays in a file of NumPy's, named by phase and by their place in the draws."""
    arrays: dict[str, np.ndarray] = {}
    for phase, chunk in whole.items():
        leaves, _ = jax.tree.flatten_with_path((chunk.samples, chunk.stats))
        arrays |= {f"{phase}{jax.tree_util.keystr(place)}": x for place, x in leaves}
    path = Path(tempfile.mkdtemp(prefix="numpyro_score-")) / "draws.npz"
    members: dict[str, Any] = {name.replace("/", "."): x for name, x in arrays.items()}
    np.savez(path, **members)
    return path
