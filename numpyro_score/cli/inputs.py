"""What a user's own model is called with: arrays of an npz file, by name."""

import inspect
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from numpyro_score.cli.common import BadInput


def load_data(path: Path) -> dict[str, Any]:
    """Arrays of an npz file by name; an array of no dimension becomes a plain number."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = "it holds pickled objects" if "allow_pickle" in str(error) else str(error)
        raise BadInput(
            f"{path} is not an npz file of plain arrays ({reason}); write it with "
            "numpy.savez(file, x=x, y=y), without object arrays"
        ) from error
    return {name: _usable(array) for name, array in arrays.items()}


def _usable(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return array.item()
    return jnp.asarray(array) if array.dtype.kind in "biufc" else array


def check_arguments(model: Callable[..., Any], data: dict[str, Any], spec: str) -> None:
    """Check that the model can be called with the data."""
    try:
        inspect.signature(model).bind(**data)
    except TypeError as error:
        wants = ", ".join(map(str, inspect.signature(model).parameters.values()))
        has = ", ".join(data) or "nothing"
        raise BadInput(
            f"{spec} cannot be called with the data ({error}): it takes ({wants}), and the data "
            f"file has {has}"
        ) from error
