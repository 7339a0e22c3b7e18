"""A Zarr group of draws that grows by whole chunks, read through its consolidated metadata.

Arrays are made once, as long as the run is going to be, which takes no room until they are written
to; the consolidated metadata, which `arviz.from_zarr` reads, says how much of them there is. It is
replaced in a single rename: a reader sees all up to one commit and nothing of what comes after.
Zarr's format 2 is used because it specifies consolidated metadata, which format 3 does not.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    import zarr

ZARR_FORMAT: Literal[2] = 2
COMMIT = ".zmetadata"
"""File whose replacement is the commit."""
ZARR_CHUNK_BYTES = 2**20
"""Size of one file of values, at most: every chunk writes the last file of each array anew."""
DIMENSIONS = "_ARRAY_DIMENSIONS"
"""Attribute in which xarray keeps the names of an array's axes."""


class DrawsGroup:
    """The arrays of a run in a folder.

    Parameters
    ----------
    path
        The folder, which exists.
    chains
        Chains that are written from here.
    num_chains
        Chains in all.
    """

    def __init__(self, path: Path, chains: range, num_chains: int) -> None:
        self._path = path
        self._chains = slice(chains.start, chains.stop)
        self._share = len(chains)
        self._num_chains = num_chains
        self._arrays: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}

    def create(self, name: str, dataset: xr.Dataset, num_draws: int) -> None:
        """Make room for `num_draws` draws of all chains like those of `dataset`.

        What an earlier, uncommitted attempt left under this name is replaced.
        """
        sizes = {"chain": self._num_chains, "draw": num_draws}
        # the first file of every array, so that no process writes to another one's
        encoding = {k: self._encoding(v, num_draws) for k, v in dataset.variables.items()}
        dataset.to_zarr(
            self._path,
            group=name,
            mode="w",
            encoding=encoding,
            consolidated=False,
            zarr_format=ZARR_FORMAT,
        )
        group = self._open(name)
        for key, array in group.arrays():
            dims: Any = array.attrs[DIMENSIONS]
            array.resize(tuple(sizes.get(d, n) for d, n in zip(dims, array.shape, strict=True)))
            if key in sizes:
                array[:] = np.arange(sizes[key])

    def _encoding(self, values: xr.Variable, num_draws: int) -> dict[str, Any]:
        """Files whole in all axes but the draws, and of this process's chains; not compressed."""
        row_bytes = max(values.nbytes // max(values.sizes.get("draw", 1), 1), 1)
        rows = min(max(ZARR_CHUNK_BYTES // row_bytes, 1), num_draws)
        sizes = {**values.sizes, "draw": rows, "chain": self._share}
        # an axis of size 0 has files of size 1, of which there are none
        chunks = tuple(max(sizes[str(dim)], 1) for dim in values.dims)
        return {"compressors": None, **({"chunks": chunks} if chunks else {})}

    def _open(self, name: str) -> "zarr.Group":
        import zarr

        return zarr.open_group(
            self._path, path=name, mode="a", zarr_format=ZARR_FORMAT, use_consolidated=False
        )

    def write(self, name: str, dataset: xr.Dataset, first: int) -> None:
        """Write draws from number `first` on, of the chains that are written from here."""
        for variable, values in dataset.data_vars.items():
            key = f"{name}/{variable}"
            if key not in self._arrays:
                self._arrays[key] = self._open(name)[str(variable)]
            where = {"chain": self._chains, "draw": slice(first, first + dataset.sizes["draw"])}
            self._arrays[key][tuple(where.get(str(dim), slice(None)) for dim in values.dims)] = (
                values.to_numpy().astype(self._arrays[key].dtype, copy=False)
            )

    def scan(self) -> None:
        """Read what arrays there are; before the first commit and after every `create`."""
        names = (".zgroup", ".zarray", ".zattrs")
        files = [file for name in names for file in self._path.rglob(name)]
        self._metadata = {
            str(file.relative_to(self._path)): json.loads(file.read_text()) for file in files
        }

    def commit(self, attrs: Mapping[str, Any], num_draws: Mapping[str, int]) -> None:
        """Make readable the first draws of every group, with the root's attributes, in one rename.

        Parameters
        ----------
        attrs
            Attributes of the root.
        num_draws
            Group -> draws.
        """
        metadata = {**self._metadata, ".zattrs": dict(attrs)}
        for key, array in self._metadata.items():
            parent, _, file = key.rpartition("/")
            if file != ".zarray":
                continue
            dims = self._metadata[f"{parent}/.zattrs"][DIMENSIONS]
            if "draw" in dims:
                shape = list(array["shape"])
                shape[dims.index("draw")] = num_draws[parent.split("/")[0]]
                metadata[key] = {**array, "shape": shape}
        self._replace(COMMIT, {"zarr_consolidated_format": 1, "metadata": metadata})

    def write_attrs(self, attrs: Mapping[str, Any]) -> None:
        """Write the root's attributes where Zarr looks for them, in a file of their own."""
        self._replace(".zattrs", attrs)

    def _replace(self, name: str, content: Any) -> None:
        new = self._path / f"{name}.new"
        new.write_text(json.dumps(content))
        new.replace(self._path / name)


def committed(path: Path) -> dict[str, Any]:
    """The metadata that a reader of the folder sees.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        If there is none, or it is damaged.
    """
    return json.loads((path / COMMIT).read_text())["metadata"]


def complete_attributes(path: Path) -> dict[str, Any] | None:
    """Attributes of a run that came to its end; None of any other, or where there is none.

    Parameters
    ----------
    path
        Folder of the run.
    """
    # what is committed, not what was written last
    if not (path / COMMIT).exists():
        return None
    attrs = committed(path)[".zattrs"]
    return attrs if attrs.get("complete") == 1 else None
