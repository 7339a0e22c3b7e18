"""Kernels, targets and models by name: the one place where a name becomes an object.

A package adds its own in its `pyproject.toml`:

    [project.entry-points."numpyro_score.kernels"]
    my_kernel = "my_package:MyKernel"       # callable: NumPyro model -> MCMCKernel

    [project.entry-points."numpyro_score.targets"]
    my_target = "my_package:my_target"      # callable without arguments -> Target

https://packaging.python.org/en/latest/specifications/entry-points/
"""

import inspect
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

KERNELS = "numpyro_score.kernels"
"""Group of callables from a NumPyro model to an `MCMCKernel`."""

TARGETS = "numpyro_score.targets"
"""Group of callables that make a `Target`."""

_WHAT = {KERNELS: "kernel", TARGETS: "target"}


def registered(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name, not loaded; of two with one name, the first that is found.

    Parameters
    ----------
    group
        `KERNELS` or `TARGETS`.

    Examples
    --------
    >>> registered("numpyro_score.no_such_group")
    {}
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, entry)
    return dict(sorted(found.items()))


def find(group: str, name: str) -> EntryPoint:
    """The entry point of that name, not loaded.

    Parameters
    ----------
    group
        `KERNELS` or `TARGETS`.
    name
        As registered.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those there are.

    Examples
    --------
    >>> find(KERNELS, "nuts").value
    'numpyro.infer:NUTS'
    """
    known = registered(group)
    if name not in known:
        what = _WHAT.get(group, group)
        close = get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        listed = ", ".join(known) or "none; install the package numpyro-score to register its own"
        raise ValueError(f"unknown {what} {name!r}{hint}; known {what}s: {listed}")
    return known[name]


def load(group: str, name: str) -> Callable[..., Any]:
    """The object that is registered under a name.

    Parameters
    ----------
    group
        `KERNELS` or `TARGETS`.
    name
        As registered.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those there are.
    ImportError
        If the package that registered it cannot be imported, or lacks it.

    Examples
    --------
    >>> load(KERNELS, "no_such_kernel")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    ValueError: unknown kernel 'no_such_kernel'; known kernels: ...
    """
    entry = find(group, name)
    what = _WHAT.get(group, group)
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"{what} {name!r} is registered as {entry.value!r}, which cannot be imported: {error}; "
            "repair or uninstall the package that registers it"
        ) from error


def load_model(spec: str) -> Callable[..., Any]:
    """A user's own model: `path/to/file.py:name` or `package.module:name`.

    Parameters
    ----------
    spec
        Where the model is, a colon, and its name.

    Raises
    ------
    ValueError
        If that is not a callable in a file or module that can be imported; the message lists the
        functions that the file has.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> load_model("no_such_file.py:model")
    Traceback (most recent call last):
    FileNotFoundError: there is no file no_such_file.py; give FILE.py:MODEL, FILE.py being your own
    >>> load_model("numpyro_score.targets.hierarchical:eight_schools_model").__name__
    'eight_schools_model'
    """
    module, name = _find(spec, "model")
    model = getattr(module, name, None)
    if not callable(model):
        what = "is not a function" if hasattr(module, name) else "is not there"
        raise ValueError(_not_there(spec, what, module))
    return model


def load_attribute(spec: str, what: str) -> Any:
    """Anything of a user's own: `path/to/file.py:name` or `package.module:name`.

    Parameters
    ----------
    spec
        Where it is, a colon, and its name.
    what
        What it is to be, in a word.

    Raises
    ------
    ValueError
        If there is no such thing in a file or module that can be imported.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> load_attribute("numpyro_score.plugins:KERNELS", "name")
    'numpyro_score.kernels'
    """
    module, name = _find(spec, what)
    if not hasattr(module, name):
        raise ValueError(_not_there(spec, "is not there", module))
    return getattr(module, name)


def split(spec: str, what: str) -> tuple[str, str]:
    """The file or module that `spec` names, and the name in it; nothing is imported.

    Parameters
    ----------
    spec
        `path/to/file.py:name` or `package.module:name`.
    what
        What it is to be, in a word.

    Raises
    ------
    ValueError
        If `spec` has another form.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> split("numpyro.infer:NUTS", "kernel")
    ('numpyro.infer', 'NUTS')
    """
    place, colon, name = spec.rpartition(":")
    form = f"FILE.py:{what.upper()}"
    if not (colon and place and name):
        raise ValueError(f"a {what} is given as {form}, got {spec!r}")
    if Path(place).suffix == ".py" and not Path(place).is_file():
        raise FileNotFoundError(f"there is no file {place}; give {form}, FILE.py being your own")
    return place, name


def _find(spec: str, what: str) -> tuple[ModuleType, str]:
    """The module that `spec` names, and the name in it."""
    place, name = split(spec, what)
    path = Path(place)
    try:
        module = _import_file(path) if path.suffix == ".py" else import_module(place)
    except Exception as error:
        raise ValueError(f"importing {place} failed: {type(error).__name__}: {error}") from error
    return module, name


def _not_there(spec: str, why: str, module: ModuleType) -> str:
    place, _, name = spec.rpartition(":")
    own = [
        key
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    return f"{name!r} {why} in {place}; its functions are {', '.join(own) or 'none'}"


def _import_file(path: Path) -> ModuleType:
    path = path.absolute()
    # as if the file were run: what lies beside it can be imported
    sys.path.insert(0, str(path.parent))
    module_spec = spec_from_file_location(path.stem, path)
    if module_spec is None or module_spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    # what is defined in it can be sent to another process, which imports it by name
    sys.modules.setdefault(path.stem, module)
    return module
