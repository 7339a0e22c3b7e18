"""Draws streamed to a Zarr group, committed with the kernel's state, so that a killed run goes on.

A chunk is written in three steps: the values; the state after them, in a file of its own; and last
the metadata that makes both count, in a single rename. A reader sees all chunks up to the last
commit and nothing of one under way; so does a resumed run, which writes over whatever lies beyond.

Chunks are written by a thread of their own while the next one is drawn. On several processes each
writes its own chains and its own part of the state; the first one commits, once all have said,
before the next chunk is written, that they have done so.
"""

import json
import zipfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from numpyro_score.run.claim import RECORD, holds_run, lock
from numpyro_score.run.damage import damaged
from numpyro_score.run.layout import Layout
from numpyro_score.run.tree import PREFIX, SAMPLING, WARMUP, Chunk, Converter, plain_attrs
from numpyro_score.run.zarr_group import COMMIT, ZARR_FORMAT, DrawsGroup, committed


class ZarrStore:
    """Sink that writes every chunk to a Zarr group on disk.

    Parameters
    ----------
    path
        Folder of the group.
    converter
        Makes the groups of a chunk.
    layout
        Which chains are written from this process.
    num_rows
        Phase -> draws of the whole run.
    identity
        What makes the run what it is, as strings and numbers; another run's store is refused.
    attrs
        Attributes of the root until the run ends.
    resume
        Whether to go on with what is there, if anything is; else the folder must not exist.

    Raises
    ------
    FileExistsError
        If the folder is there and the run is not to be resumed.
    ValueError
        If what is there is not a store of this run; the differences are named.
    BlockingIOError
        If another run writes to it.
    OSError
        If the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        converter: Converter,
        layout: Layout,
        num_rows: Mapping[str, int],
        identity: Mapping[str, Any],
        attrs: Mapping[str, Any],
        *,
        resume: bool,
    ) -> None:
        self._path = path
        self._attrs = dict(attrs)
        self._converter = converter
        self._layout = layout
        self._num_rows = dict(num_rows)
        self._group = DrawsGroup(path, layout.chains, layout.num_chains)
        self._is_first = jax.process_index() == 0
        self._record: dict[str, Any] = {
            "identity": dict(identity),
            "rows": {},
            "seconds": {},
            "commits": 0,
        }
        self._together(lambda: self._claim(resume=resume))
        if (path / COMMIT).exists():
            self._record = committed(path)[".zattrs"][RECORD]
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="numpyro_score-store")
        self._pending: Future[None] | None = None
        self._next = self._record

    @property
    def rows(self) -> dict[str, int]:
        """Committed draws of each phase."""
        return dict(self._record["rows"])

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each phase up to the last commit."""
        return dict(self._record["seconds"])

    def restore(self, state: Any) -> Any:
        """The committed state, in the structure of `state`; `state` itself if there is none.

        Raises
        ------
        ValueError
            If its file is damaged.
        """
        if not self._record["commits"]:
            self._prune_states()
            return state
        file = self._state_file(self._record["commits"])
        try:
            # NumPy leaves a damaged file open that it opened itself
            with file.open("rb") as raw, np.load(raw, allow_pickle=False) as data:
                values = [data[f"arr_{i}"] for i in range(len(data.files))]
        except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise damaged(self._path, file, f"cannot be read ({error})") from error
        self._prune_states()
        return self._layout.from_host(values, state)

    def add(self, chunk: Chunk, state: Any, seconds: Mapping[str, float], *, keep: bool) -> None:
        """Write a chunk and commit it with the state after it, in the background.

        Parameters
        ----------
        chunk, state
            Draws, and the state after them.
        seconds
            Of each phase until now.
        keep
            False commits the state and the count alone.

        Raises
        ------
        OSError
            If the chunk before could not be written: all that was committed before it is there.
        """
        self._wait()
        if keep and not chunk.first:
            self._together(lambda: self._create(chunk))
        leaves = self._layout.to_host(jax.tree.leaves(state))
        self._pending = self._writer.submit(self._write, chunk, leaves, dict(seconds), keep)

    def finish(self, attrs: Mapping[str, Any]) -> xr.DataTree:
        """Write the root's attributes, and open the store as a reader would."""
        self._wait()
        self._attrs = plain_attrs(attrs)
        self._together(lambda: self._commit_end())
        return xr.open_datatree(self._path, engine="zarr")  # as arviz.from_zarr

    def close(self) -> None:
        """Let go of the store; another run may write to it."""
        self._writer.shutdown()
        if self._is_first:
            self._lock_file.close()

    # -- writing ----------------------------------------------------------------------------------

    def _together(self, act: Any) -> None:
        """Let the first process act while the others wait, and fail where it fails."""
        error: Exception | None = None
        if self._is_first:
            try:
                act()
            except Exception as raised:
                error = raised
        is_fine = self._layout.all_agree(error is None)
        if isinstance(error, OSError) and not isinstance(error, FileExistsError | BlockingIOError):
            raise self._explained(error) from error
        if error is not None:
            raise error
        if not is_fine:
            raise OSError(f"the first process cannot use the store {self._path}; it says why.")

    def _explained(self, error: OSError) -> OSError:
        rows = ", ".join(f"{n} of {phase}" for phase, n in self.rows.items()) or "none"
        return OSError(
            error.errno,
            f"the store cannot be written ({error.strerror or error}); committed and readable "
            f"draws: {rows}. Make room or fix the permissions, then give resume=True",
            str(self._path),
        )

    def _wait(self) -> None:
        """Until the chunk under way is written, and on several processes committed."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        error = pending.exception()
        is_fine = self._layout.all_agree(error is None)
        if isinstance(error, OSError):
            raise self._explained(error) from error
        if error is not None:
            raise error
        if not is_fine:
            raise OSError(f"another process cannot write to the store {self._path}; it says why.")
        if self._layout.is_shared:
            self._finish_chunk()

    def _create(self, chunk: Chunk) -> None:
        """Make the arrays of the chunk's phase, with the first chunk of it."""
        groups = self._converter.groups(chunk)
        if not self._record["commits"]:
            self._make_root()
            groups |= self._converter.observed(chunk)
        for name, dataset in groups.items():
            self._group.create(name, dataset, self._num_rows[chunk.phase])
        self._group.scan()

    def _make_root(self) -> None:
        (self._path / ".zgroup").write_text(json.dumps({"zarr_format": ZARR_FORMAT}))
        self._group.write_attrs(self._attrs)
        self._group.scan()

    def _write(
        self, chunk: Chunk, leaves: list[np.ndarray], seconds: dict[str, float], keep: bool
    ) -> None:
        if keep:
            for name, dataset in self._converter.groups(chunk).items():
                self._group.write(name, dataset, chunk.first)
        commits = self._record["commits"] + 1
        with self._state_file(commits).open("wb") as file:
            np.savez(file, *leaves)
        self._next = {
            **self._record,
            "rows": {**self._record["rows"], chunk.phase: chunk.first + chunk.num_draws},
            "seconds": seconds,
            "commits": commits,
        }
        if not self._layout.is_shared:
            self._finish_chunk()

    def _finish_chunk(self) -> None:
        if self._is_first:
            if not (self._path / ".zgroup").exists():
                self._make_root()
            self._commit(self._next)
        self._record = self._next
        # not the one before: the first process may be about to commit
        self._state_file(self._record["commits"] - 2).unlink(missing_ok=True)

    def _commit_end(self) -> None:
        if self._record["commits"]:
            self._group.write_attrs(self._attrs)
            self._commit(self._record)

    def _commit(self, record: Mapping[str, Any]) -> None:
        rows = {
            f"{PREFIX[phase]}{group}": record["rows"].get(phase, 0)
            for phase in (WARMUP, SAMPLING)
            for group in ("posterior", "sample_stats", "log_likelihood")
        }
        # of a run that was killed they are those of its last commit
        seconds = {f"seconds_{phase}": value for phase, value in record["seconds"].items()}
        self._group.commit({**seconds, **self._attrs, RECORD: dict(record)}, rows)

    def _state_file(self, commits: int) -> Path:
        return self._path / f".state-{commits}-{jax.process_index()}.npz"

    # -- opening ----------------------------------------------------------------------------------

    def _claim(self, *, resume: bool) -> None:
        """Make the folder or check what is in it, and keep others out."""
        self._path.mkdir(exist_ok=resume)
        self._lock_file = lock(self._path)
        try:
            if holds_run(self._path, self._record["identity"]):
                self._group.scan()
        except BaseException:
            self._lock_file.close()
            raise

    def _prune_states(self) -> None:
        """Remove this process's states that no commit counts."""
        current = self._state_file(self._record["commits"])
        for file in self._path.glob(f".state-*-{jax.process_index()}.npz"):
            if file != current:
                file.unlink()
