"""Models in one file: a zip archive of JSON and NumPy arrays, and nothing that runs.

`model.json` holds the format's version, the architecture (see `architecture`) and a checksum;
`arrays/0.npy`, `arrays/1.npy`, ... hold the arrays. The checksum detects damage and careless edits,
not malicious ones; but a file can only choose among known classes and fill them with numbers.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from numpyro_score.training import architecture

FORMAT = "numpyro_score model"
VERSION = 1
HEADER = "model.json"


def _checksum(header: dict[str, Any], arrays: Iterable[bytes]) -> str:
    """Of all that a file says, but for the checksum itself."""
    content = {key: value for key, value in header.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()


def _as_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    # types that NumPy has no name for go by their size; the header has their name
    plain = array if array.dtype.isbuiltin == 1 else array.view(f"V{array.dtype.itemsize}")
    np.save(buffer, plain, allow_pickle=False)
    return buffer.getvalue()


def save(model: Any, path: str | Path, about: Mapping[str, Any] | None = None) -> Path:
    """Write a model to one file.

    Parameters
    ----------
    model
        A score, denoiser or energy: an Equinox module of arrays, numbers, text and functions with
        names.
    path
        Where to; a file there is replaced once the new one is whole.
    about
        What else to keep with it, as JSON: the names of the variables, say. See `about_model`.

    Returns
    -------
    The path, absolute.

    Raises
    ------
    TypeError
        If it is no module, or holds something that could not be found again by its name, such as
        a lambda, or `about` is no JSON.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import equinox as eqx, jax, tempfile
    >>> from numpyro_score.scores import EnergyNet
    >>> model = EnergyNet(2, width=8, rng_key=jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(model, f"{folder}/model.score")
    ...     bool(eqx.tree_equal(load(path), model))
    True
    """
    if not isinstance(model, eqx.Module):
        raise TypeError(
            f"the model is a {type(model).__name__}; files hold Equinox modules, such as those of "
            "numpyro_score.scores"
        )
    arrays: list[np.ndarray] = []
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": version("numpyro-score"),
        "architecture": architecture.encode(model, arrays),
        "num_arrays": len(arrays),
        "about": dict(about or {}),
    }
    contents = [_as_bytes(array) for array in arrays]
    header["checksum"] = _checksum(header, contents)
    path = Path(path).absolute()
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        new = Path(folder) / path.name
        with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(HEADER, json.dumps(header, indent=1))
            for i, content in enumerate(contents):
                archive.writestr(f"arrays/{i}.npy", content)
        os.replace(new, path)
    return path


def load(path: str | Path, known: Iterable[Any] = ()) -> Any:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path
        The file.
    known
        Classes and functions of your own that the model is made of. Those of this package, the
        layers of `equinox.nn`, the functions of `jax.nn` and `jax.numpy.tanh` are always known.

    Returns
    -------
    The model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it was not written by `save`, is cut short, was written by a later version, was changed,
        or names a class or function that is not known; the message says which.

    Examples
    --------
    >>> load(__file__)
    Traceback (most recent call last):
    ValueError: ... is a foreign file: ...
    """
    path = Path(path)
    header, contents = _read(path)
    try:
        arrays = [np.load(io.BytesIO(content), allow_pickle=False) for content in contents]
        return architecture.decode(header["architecture"], arrays, architecture.names(known))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} was tampered with: its architecture makes no sense") from error
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be made a model (written by numpyro-score {header['written_by']}): "
            f"{error}"
        ) from error


def about_model(path: str | Path) -> dict[str, Any]:
    """What was kept with a model, besides the model.

    Parameters
    ----------
    path
        A file that `save` wrote.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load` does.
    """
    return dict(_read(Path(path))[0].get("about", {}))


def _read(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Header and arrays of a file that is whole and of a version that can be read."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give one that save wrote")
    foreign = (
        f"{path} is a foreign file: it was not written by numpyro_score.training.io.save; give one "
        "that was"
    )
    with path.open("rb") as file:
        is_ours = HEADER.encode() in file.read(64)
    try:
        with zipfile.ZipFile(path) as archive:
            if HEADER not in archive.namelist():
                raise ValueError(foreign)
            header = json.loads(archive.read(HEADER))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise ValueError(foreign)
            if not isinstance(header.get("version"), int) or header["version"] > VERSION:
                raise ValueError(
                    f"{path} is newer than this installation: its format is {header['version']}, "
                    f"written by numpyro-score {header.get('written_by')}, and formats up to "
                    f"{VERSION} can be read; upgrade numpyro-score"
                )
            contents = [archive.read(f"arrays/{i}.npy") for i in range(header["num_arrays"])]
    except zipfile.BadZipFile as error:
        if not is_ours:
            raise ValueError(foreign) from error
        raise ValueError(
            f"{path} is truncated or damaged ({error}); write or copy it again"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} was tampered with: {error} is missing or unreadable") from error
    if _checksum(header, contents) != header.get("checksum"):
        raise ValueError(f"{path} was tampered with: its checksum is not that of its content")
    return header, contents
