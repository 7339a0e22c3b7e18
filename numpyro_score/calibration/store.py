"""Batches of refits in a folder, from which an interrupted calibration is resumed."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from numpyro_score.calibration.ranks import Ranked

HEADER = "calibration.json"


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
        If the folder holds another calibration, or something else.
    """

    def __init__(self, path: str | Path | None, about: dict[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        if self._path is None:
            return
        self._path.mkdir(parents=True, exist_ok=True)
        header = self._path / HEADER
        if not header.exists():
            if any(self._path.iterdir()):
                raise ValueError(f"{path} holds other files and no calibration; give a new folder")
            header.write_text(json.dumps(about, indent=1), encoding="utf-8")
            return
        known = json.loads(header.read_text(encoding="utf-8"))
        changed = [name for name in about if known.get(name) != about[name]]
        if changed:
            raise ValueError(
                f"{path} holds another calibration: {', '.join(changed)} differ; give a new "
                "folder, or the same model, kernel, data, key and settings"
            )

    def read(self, index: int) -> Ranked | None:
        """A batch that was written before; None if it was not."""
        if self._path is None or not (path := self._file(index)).exists():
            return None
        with np.load(path) as arrays:
            return Ranked(**{name: arrays[name] for name in Ranked._fields})

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
