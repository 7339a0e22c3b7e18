"""Batches of refits in a folder, from which an interrupted calibration is resumed."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from numpyro_score.calibration.ranks import Ranked

HEADER = "calibration.json"

NUMBERS = ("num_warmup", "num_samples", "num_chains", "batch_size")
"""What the entry `numbers` of the header holds."""


class BatchStore:
    """A folder of batches, or none.

    Parameters
    ----------
    path
        The folder; None keeps nothing.
    about
        What the refits depend on, as JSON: a folder with another content is refused.

    Raises
    ------
    ValueError
        If the folder holds another calibration, or something else, or is a file.
    """

    def __init__(self, path: str | Path | None, about: dict[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        if self._path is None:
            return
        if self._path.exists() and not self._path.is_dir():
            raise ValueError(f"{path} is a file, but refits are stored in a folder; give another")
        self._path.mkdir(parents=True, exist_ok=True)
        header = self._path / HEADER
        if not header.exists():
            if any(entry.name != f".{HEADER}" for entry in self._path.iterdir()):
                raise ValueError(f"{path} holds other files and no calibration; give a new folder")
            new = self._path / f".{HEADER}"
            new.write_text(json.dumps(about, indent=1), encoding="utf-8")
            os.replace(new, header)
            return
        known = json.loads(header.read_text(encoding="utf-8"))
        changed = [_difference(name, known.get(name), about[name]) for name in about]
        changed = [text for text in changed if text]
        if changed:
            raise ValueError(
                f"{path} holds another calibration: {', '.join(changed)}; give a new folder, or "
                "the same model, kernel, data, key and settings"
            )

    def read(self, index: int) -> Ranked | None:
        """A batch that was written before; None if it was not."""
        if self._path is None or not (path := self._file(index)).exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Ranked(**{name: arrays[name] for name in Ranked._fields})
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is damaged ({type(error).__name__}); remove it, and its refits are made "
                "again"
            ) from error

    def write(self, index: int, ranked: Ranked) -> None:
        """Write a batch, in one rename."""
        if self._path is None:
            return
        part = self._path / f".{index}.npz"
        np.savez(part, **ranked._asdict())
        os.replace(part, self._file(index))

    def _file(self, index: int) -> Path:
        assert self._path is not None
        return self._path / f"batch_{index}.npz"


def _difference(name: str, was: Any, now: Any) -> str:
    """How an entry of the header differs, or nothing."""
    if was == now:
        return ""
    if name != "numbers" or was is None:
        return f"{name} differ"
    pairs = zip(NUMBERS, was, now, strict=True)
    return ", ".join(f"{what} was {old}, is {new}" for what, old, new in pairs if old != new)
