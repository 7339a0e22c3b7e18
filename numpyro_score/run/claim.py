"""Whose a store is: what may be written to, what is refused, and one run at a time.

Nothing here changes a committed draw. What was begun and never committed is removed when its own
run comes back.
"""

import fcntl
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import jax

from numpyro_score.run.damage import check_files
from numpyro_score.run.identity import differences
from numpyro_score.run.zarr_group import COMMIT, committed

RECORD = "numpyro_score"
"""Attribute of the root: what the run is, and how far it is."""


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
    if path.exists() and not resume and jax.process_index() == 0:
        raise FileExistsError(f"{path} exists; give another path, or resume=True to go on with it.")
    return path


def lock(path: Path) -> TextIO:
    """Keep other runs out of a store for as long as the file that is returned is open.

    Raises
    ------
    BlockingIOError
        If another run writes to it.
    """
    file = (path / ".lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise BlockingIOError(
            error.errno,
            "another run is writing to the store; wait for it, or use another path",
            str(path),
        ) from error
    return file


def holds_run(path: Path, identity: Mapping[str, Any]) -> bool:
    """Whether draws of this run are committed in the store; False if there are none yet.

    Parameters
    ----------
    path
        The store's folder, locked.
    identity
        Of the run that is to go on.

    Raises
    ------
    ValueError
        If it is no store, is damaged, or is that of another run; the differences are named.
    """
    if {entry.name for entry in path.iterdir()} == {".lock"}:
        return False
    try:
        metadata = committed(path)
        known = metadata[".zattrs"][RECORD]["identity"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        if _is_uncommitted(path):
            return False
        raise ValueError(
            f"{path} is not a store of a run, or is damaged ({COMMIT}: "
            f"{type(error).__name__}); nothing in it was changed. Give another path."
        ) from error
    found = differences(known, identity)
    if found:
        raise ValueError(
            f"{path} holds another run: {'; '.join(found)}. Nothing in it was changed. Give the "
            "same arguments to resume it, or another path."
        )
    check_files(path, metadata)
    for entry in path.iterdir():
        if entry.is_dir() and f"{entry.name}/.zgroup" not in metadata:
            shutil.rmtree(entry)
    return True


def _is_uncommitted(path: Path) -> bool:
    """Whether all there is, is the beginning of a first chunk that was never committed."""
    names = {entry.name for entry in path.iterdir()}
    groups = {"posterior", "sample_stats", "observed_data", "log_likelihood"}
    groups |= {f"warmup_{name}" for name in groups}
    ours = groups | {".lock", ".zgroup", f"{COMMIT}.new"}
    states = {name for name in names if name.startswith(".state-1-")}
    return ".lock" in names and COMMIT not in names and names <= ours | states
