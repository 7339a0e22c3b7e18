"""Docstrings read from source files, without importing what they describe.

Importing NumPyro to list the names of kernels takes seconds; reading its files does not.
"""

import ast
import inspect
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def docstring(value: str) -> str | None:
    """The docstring of a function or class, as far as its source files show it.

    Parameters
    ----------
    value
        `package.module:name`, as in an entry point. A module may import the name from another.

    Returns
    -------
    The docstring; None where it cannot be found in this way.

    Examples
    --------
    >>> docstring("numpyro_score.infer:MALA").split(";")[0]
    'Metropolis-adjusted Langevin algorithm'
    >>> docstring("numpyro_score.infer:no_such_kernel")
    """
    module, _, name = value.partition(":")
    return _docstring(module, name, frozenset())


def _docstring(module: str, name: str, seen: frozenset[tuple[str, str]]) -> str | None:
    path = _source(module)
    if path is None or (module, name) in seen:
        return None
    seen = seen | {(module, name)}
    stub = path.with_suffix(".pyi")  # of a package whose names are loaded when first used
    for tree in (_tree(file) for file in (path, stub) if file.is_file()):
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                doc = ast.get_docstring(node, clean=False)
                return None if doc is None else inspect.cleandoc(doc)
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _docstring(_absolute(node, module, path), alias.name, seen)
    return None


def _absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    """Module that `node`, in the file of `module`, imports from."""
    if not node.level:
        return node.module or ""
    package = module.split(".")
    keep = len(package) - node.level + (path.stem == "__init__")
    return ".".join([*package[:keep], *([node.module] if node.module else [])])


def _source(module: str) -> Path | None:
    """The file of a module, which is not imported, nor are the packages around it."""
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    for name in inner:
        folder = path.parent
        found = [f for f in (folder / name / "__init__.py", folder / f"{name}.py") if f.is_file()]
        if path.stem != "__init__" or not found:
            return None
        path = found[0]
    return path


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))
