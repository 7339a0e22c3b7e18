"""Draws streamed to a Zarr group, committed with the kernel's state, so that a killed run goes on.

A chunk is appended in four steps: the values; the state after them, in a file of its own; the
root's attributes; and last the consolidated metadata, which replaces the one before in a single
rename. That last step is the commit. A reader of consolidated metadata, such as
`arviz.from_zarr`, sees all chunks up to it and nothing of a chunk under way; so does a resumed run,
which writes over whatever lies beyond. Zarr's format 2 is used because it specifies consolidated
metadata, which format 3 does not.

Chunks are written by a thread of their own while the next one is drawn.
"""

import fcntl
import json
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
import zarr

from numpyro_score.run.tree import Chunk, Converter

ZARR_FORMAT: Literal[2] = 2
COMMIT = ".zmetadata"
"""File whose replacement is the commit."""
RECORD = "numpyro_score"
"""Attribute of the root: what the run is, and how far it is."""
ZARR_CHUNK_BYTES = 2**22
"""Size of one file of values, about."""


def check_store(store: str | Path | None, *, resume: bool) -> Path | None:
    """Refuse a store that cannot be what it is meant to be, before anything is run.

    Raises
    ------
    ValueError
        If its ending is unknown, or a netCDF file is to be resumed.
    FileExistsError, FileNotFoundError
        If it is there and not to be resumed, or its folder is not there.
    """
    if store is None:
        if resume:
            raise ValueError("resume=True needs store=, the Zarr folder of the run to go on with.")
        return None
    path = Path(store)
    if path.suffix not in (".zarr", ".nc"):
        raise ValueError(
            f"store {str(path)!r} ends in neither .zarr nor .nc; name a Zarr folder, which is "
            "written as the run goes on, or a netCDF file, which is written at its end."
        )
    if path.suffix == ".nc" and resume:
        raise ValueError("a netCDF file is written at the end and cannot be resumed; use .zarr.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} of the store does not exist; make it.")
    if path.exists() and not resume:
        raise FileExistsError(f"{path} exists; give another path, or resume=True to go on with it.")
    return path


def _is_key(leaf: jax.Array) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_host(state: Any) -> list[np.ndarray]:
    """Leaves of a state as arrays that can be written, copied to the host; keys as their data."""
    leaves = [jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(state)]
    return jax.device_get(leaves)


def to_state(values: list[np.ndarray], like: Any) -> Any:
    """Inverse of `to_host`, in the structure of `like`."""
    leaves, structure = jax.tree.flatten(like)
    pairs = zip(leaves, values, strict=True)
    return jax.tree.unflatten(
        structure,
        [
            jax.random.wrap_key_data(jnp.asarray(new), impl=jax.random.key_impl(old))
            if _is_key(old)
            else jnp.asarray(new, old.dtype)
            for old, new in pairs
        ],
    )


class ZarrStore:
    """Sink that appends every chunk to a Zarr group on disk.

    Parameters
    ----------
    path
        Folder of the group.
    converter
        Makes the groups of a chunk.
    identity
        What makes the run what it is, as strings and numbers; another run's store is refused.
    resume
        Whether to go on with what is there, if anything is; else the folder must not exist.

    Raises
    ------
    FileExistsError
        If the folder is there and the run is not to be resumed.
    ValueError
        If what is there is not a store of this run; the differences are named.
    BlockingIOError
        If another process writes to it.
    OSError
        If the folder cannot be written.
    """

    def __init__(
        self, path: Path, converter: Converter, identity: Mapping[str, Any], *, resume: bool
    ) -> None:
        self._path = path
        self._converter = converter
        self._committed: dict[str, Any] = {}
        self._record: dict[str, Any] = {"identity": dict(identity), "rows": {}, "commits": 0}
        path.mkdir(exist_ok=resume)
        self._lock()
        try:
            self._record = self._read_record(identity)
            self._truncate()
        except BaseException:
            self._lock_file.close()
            raise
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="numpyro_score-store")
        self._pending: Future[None] | None = None

    @property
    def rows(self) -> dict[str, int]:
        """Committed draws of each phase."""
        return dict(self._record["rows"])

    def restore(self, state: Any) -> Any:
        """The committed state, in the structure of `state`; `state` itself if there is none."""
        if not self._record["commits"]:
            return state
        with np.load(self._path / self._state_name(), allow_pickle=False) as data:
            values = [data[f"arr_{i}"] for i in range(len(data.files))]
        return to_state(values, state)

    def add(self, chunk: Chunk, state: Any, *, keep: bool) -> None:
        """Append a chunk and commit it with the state after it, in the background.

        Parameters
        ----------
        chunk, state
            Draws, and the state after them.
        keep
            False commits the state and the count alone.

        Raises
        ------
        OSError
            If the chunk before could not be written: all that was committed before it is there.
        """
        self._wait()
        self._pending = self._writer.submit(self._write, chunk, to_host(state), keep)

    def finish(self, attrs: Mapping[str, Any]) -> xr.DataTree:
        """Write the root's attributes, and open the store as a reader would."""
        self._wait()
        root = self._open()
        root.attrs.update({name: _plain(value) for name, value in attrs.items()})
        _commit(self._path)
        return az.from_zarr(self._path)

    def close(self) -> None:
        """Let go of the store; another run may write to it."""
        self._writer.shutdown()
        self._lock_file.close()

    # -- writing ----------------------------------------------------------------------------------

    def _open(self) -> zarr.Group:
        return zarr.open_group(
            self._path, mode="a", zarr_format=ZARR_FORMAT, use_consolidated=False
        )

    def _wait(self) -> None:
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        try:
            pending.result()
        except OSError as error:
            rows = ", ".join(f"{n} of {phase}" for phase, n in self.rows.items()) or "none"
            raise OSError(
                error.errno,
                f"the store cannot be written ({error.strerror or error}); committed and readable "
                f"draws: {rows}. Make room or fix the permissions, then give resume=True",
                str(self._path),
            ) from error

    def _write(self, chunk: Chunk, leaves: list[np.ndarray], keep: bool) -> None:
        root = self._open()
        groups = self._converter.groups(chunk) if keep else {}
        if not self._record["commits"]:
            groups |= self._converter.observed(chunk)
        for name, dataset in groups.items():
            _append(self._path, name, dataset)
        before = self._path / self._state_name()
        record = {
            **self._record,
            "rows": {**self._record["rows"], chunk.phase: chunk.first + chunk.num_draws},
            "commits": self._record["commits"] + 1,
        }
        after = self._path / self._state_name(record["commits"])
        with after.open("wb") as file:
            np.savez(file, *leaves)
        root.attrs[RECORD] = record
        _commit(self._path)
        self._record = record
        before.unlink(missing_ok=True)

    def _state_name(self, commits: int | None = None) -> str:
        return f".state-{self._record['commits'] if commits is None else commits}.npz"

    # -- opening ----------------------------------------------------------------------------------

    def _lock(self) -> None:
        self._lock_file = (self._path / ".lock").open("a")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock_file.close()
            raise BlockingIOError(
                error.errno,
                "another run is writing to the store; wait for it, or use another path",
                str(self._path),
            ) from error

    def _read_record(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """What the committed metadata says of the run, checked to be this one."""
        commit = self._path / COMMIT
        only_lock = {entry.name for entry in self._path.iterdir()} == {".lock"}
        if only_lock:
            return self._record
        try:
            metadata = json.loads(commit.read_text())["metadata"]
            record = metadata[".zattrs"][RECORD]
            known = record["identity"]
        except (OSError, KeyError, TypeError, ValueError) as error:
            if self._is_uncommitted():
                return self._record
            raise ValueError(
                f"{self._path} is not a store of a run, or is damaged ({COMMIT}: "
                f"{type(error).__name__}); nothing in it was changed. Give another path."
            ) from error
        differences = [
            f"{name} was {known.get(name)!r} and is {identity.get(name)!r}"
            for name in {**known, **identity}
            if known.get(name) != identity.get(name)
        ]
        if differences:
            raise ValueError(
                f"{self._path} holds another run: {'; '.join(differences)}. Nothing in it was "
                "changed. Give the same arguments to resume it, or another path."
            )
        self._committed = metadata
        return record

    def _is_uncommitted(self) -> bool:
        """Whether all there is, is the beginning of a first chunk that was never committed."""
        names = {entry.name for entry in self._path.iterdir()}
        groups = {"posterior", "sample_stats", "observed_data", "log_likelihood"}
        groups |= {f"warmup_{name}" for name in groups}
        ours = groups | {".lock", ".zgroup", ".zattrs", self._state_name(1)}
        return ".lock" in names and COMMIT not in names and names <= ours

    def _truncate(self) -> None:
        """Forget what was written after the last commit."""
        root = self._open()
        for group in self._path.iterdir():
            if group.is_dir() and f"{group.name}/.zgroup" not in self._committed:
                shutil.rmtree(group)
        for key, metadata in self._committed.items():
            if key.endswith("/.zarray"):
                array = root[key.removesuffix("/.zarray")]
                assert isinstance(array, zarr.Array)
                array.resize(tuple(metadata["shape"]))


def _commit(path: Path) -> None:
    """Replace the consolidated metadata by what the store's own metadata now says, in one rename.

    Written here, because Zarr's function warns of the files that are not Zarr's.
    """
    names = (".zgroup", ".zarray", ".zattrs")
    files = [file for name in names for file in path.rglob(name)]
    metadata = {str(file.relative_to(path)): json.loads(file.read_text()) for file in files}
    new = path / f"{COMMIT}.new"
    new.write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": metadata}))
    new.replace(path / COMMIT)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _append(path: Path, name: str, dataset: xr.Dataset) -> None:
    """Append a dataset along its draws to a group, which is made with the first one."""
    options: dict[str, Any] = {"group": name, "consolidated": False, "zarr_format": ZARR_FORMAT}
    if not (path / name / ".zgroup").exists():
        encoding = {k: _encoding(v) for k, v in dataset.variables.items()}
        dataset.to_zarr(path, mode="w", encoding=encoding, **options)
    elif "draw" in dataset.dims:
        dataset.to_zarr(path, mode="a", append_dim="draw", **options)


def _encoding(values: xr.Variable) -> dict[str, Any]:
    """Files of a few megabytes, whole in all axes but the draws; not compressed, for speed."""
    row_bytes = max(values.nbytes // max(values.sizes.get("draw", 1), 1), 1)
    rows = max(ZARR_CHUNK_BYTES // row_bytes, 1)
    chunks = tuple(rows if dim == "draw" else n for dim, n in values.sizes.items())
    return {"compressors": None, **({"chunks": chunks} if chunks else {})}
