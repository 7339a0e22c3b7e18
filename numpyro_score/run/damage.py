"""Check that the files of a store are complete; a full disk or a failed copy may truncate them."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

METADATA = (".zgroup", ".zarray", ".zattrs")
"""Names of the files that describe a group or an array."""

VALUES = re.compile(r"\d+(\.\d+)*")
"""Names of the files that hold an array's values."""


def check_files(path: Path, metadata: Mapping[str, Any]) -> None:
    """Check that no file of a store is truncated.

    Arrays are not compressed, so that the size of each file of values is known. Changes that keep
    the size are not detected.

    Parameters
    ----------
    path
        The store's folder.
    metadata
        What is committed, as `zarr_group.committed` returns it.

    Raises
    ------
    ValueError
        If a file cannot be read or has another size than it should; the message names it.
    """
    for key in metadata:
        file = path / key
        if file.name not in METADATA or not file.exists():
            continue
        try:
            known = json.loads(file.read_bytes())
        except ValueError as error:
            raise damaged(path, file, f"cannot be read ({error})") from error
        if file.name != ".zarray" or known.get("compressor") or known.get("filters"):
            continue
        expected = math.prod(known["chunks"]) * np.dtype(known["dtype"]).itemsize
        for values in file.parent.iterdir():
            size = values.stat().st_size
            if VALUES.fullmatch(values.name) and size != expected:
                raise damaged(path, values, f"has {size} bytes instead of {expected}")


def damaged(path: Path, file: Path, what: str) -> ValueError:
    """The error that a store is damaged.

    Parameters
    ----------
    path
        The store's folder.
    file
        The file at fault, in the folder.
    what
        What is wrong with it.
    """
    return ValueError(
        f"the store {path} is damaged: {file.relative_to(path)} {what}. Nothing in it was changed. "
        "Put the file back from a copy, or start the run again with another path."
    )
