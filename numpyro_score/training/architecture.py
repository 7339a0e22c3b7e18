"""A model as plain JSON and a list of arrays, and back.

Modules become the name of their class and their fields; functions become their names. Only names
that are known are ever looked up: classes of this package and of `equinox.nn`, functions of JAX,
and what the caller lists. Nothing of a file is executed.
"""

import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

PACKAGES = ("numpyro_score.scores", "numpyro_score.noise", "numpyro_score.targets", "equinox.nn")
"""Whose classes are known."""

FUNCTIONS = ("jax.nn", "jax.numpy")
"""Whose functions are known: all of the first, of the second those that networks bend with."""

ELEMENTWISE = ("abs", "arctan", "cos", "exp", "log1p", "sin", "square", "tanh")
"""The functions of `jax.numpy` that are known."""

ALIASES = {
    "equinox.nn:identity": inspect.signature(eqx.nn.MLP).parameters["final_activation"].default
}
"""What is known but has no name of its own: what `equinox.nn.MLP` does last by default."""

PLAIN = (bool, int, str, type(None))


class UnknownName(ValueError):
    """A file names a class or function that is not known."""


def _public_name(thing: Any, modules: Iterable[str]) -> str | None:
    """`module:name` under which one of the modules offers a thing."""
    name = getattr(thing, "__name__", None)
    for module in modules:
        if name and getattr(importlib.import_module(module), name, None) is thing:
            return f"{module}:{name}"
    return None


def _name(thing: Any) -> str:
    """Name of a class or function, public where it has such a name.

    Raises
    ------
    TypeError
        If it has none that could be found again.
    """
    for alias, known in ALIASES.items():
        if thing is known:
            return alias
    public = _public_name(thing, (*PACKAGES, *FUNCTIONS))
    if public is not None:
        return public
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not module or not name or "<" in name:
        raise TypeError(
            f"the model holds {thing!r}, which has no name to be found by again; use a function or "
            "class defined at the top of a module"
        )
    return f"{module}:{name}"


def _find(name: str, known: Mapping[str, Any]) -> Any:
    """What a name stands for, if it is known."""
    if name in known:
        return known[name]
    if name in ALIASES:
        return ALIASES[name]
    module, _, attribute = name.partition(":")
    if module in PACKAGES or module.startswith(tuple(f"{package}." for package in PACKAGES)):
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except ImportError:
            found = None
        # and not what the module has imported
        if callable(found) and str(getattr(found, "__module__", "")).startswith(PACKAGES):
            return found
    if module == "jax.nn" or (module == "jax.numpy" and attribute in ELEMENTWISE):
        found = getattr(importlib.import_module(module), attribute, None)
        if callable(found):
            return found
    raise UnknownName(
        f"it names {name}, which is not known here; if it is yours and you trust the file, give it "
        "to load: known=[...]"
    )


def encode(tree: Any, arrays: list[np.ndarray]) -> Any:
    """Plain JSON for a model; its arrays are appended to a list.

    Parameters
    ----------
    tree
        A module, or anything in one.
    arrays
        To which arrays are added.

    Raises
    ------
    TypeError
        If something can neither be written nor be found again by its name.
    """
    match tree:
        case float() if not math.isfinite(tree):
            return {"float": repr(float(tree))}
        case bool() | int() | float() | str() | None if type(tree) in (*PLAIN, float):
            return tree
        case jax.Array() if jax.dtypes.issubdtype(tree.dtype, jax.dtypes.prng_key):
            arrays.append(np.asarray(jax.random.key_data(tree)))
            return {"key": len(arrays) - 1, "impl": str(jax.random.key_impl(tree))}
        case jax.Array() | np.ndarray() | np.generic():
            arrays.append(np.asarray(tree))
            kind = "array" if isinstance(tree, jax.Array) else "numpy"
            return {kind: len(arrays) - 1, "dtype": arrays[-1].dtype.name}
        case dict():
            return {"dict": [[encode(k, arrays), encode(v, arrays)] for k, v in tree.items()]}
        case jax.tree_util.Partial():
            parts = (tree.func, tree.args, tree.keywords)
            return {"partial": [encode(part, arrays) for part in parts]}
        case list():
            return {"list": [encode(item, arrays) for item in tree]}
        case tuple() if type(tree) is tuple:
            return {"tuple": [encode(item, arrays) for item in tree]}
        case tuple() if hasattr(tree, "_fields"):
            values = {name: encode(getattr(tree, name), arrays) for name in tree._fields}
            return {"class": _name(type(tree)), "fields": values}
        case eqx.Module() if hasattr(tree, "__func__"):
            bound: Any = tree
            return {"method": bound.__func__.__name__, "of": encode(bound.__self__, arrays)}
        case eqx.Module():
            # what is left out by a constructor is left out here
            present = [field.name for field in fields(tree) if hasattr(tree, field.name)]
            values = {name: encode(getattr(tree, name), arrays) for name in present}
            return {"class": _name(type(tree)), "fields": values}
        case type() | Callable():
            return {"name": _name(tree)}
    raise TypeError(
        f"the model holds a {type(tree).__name__}, which cannot be written to a file; models are "
        "Equinox modules of arrays, numbers, text and functions with names"
    )


def _is_own(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


def _build(cls: Any, values: dict[str, Any]) -> Any:
    """An instance with these fields, without its constructor, whose arguments are gone."""
    is_class = isinstance(cls, type)
    if is_class and issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return cls(**values)
    if not (is_class and issubclass(cls, eqx.Module)):
        raise UnknownName(f"it names {cls!r} where a class of models is needed")
    expected = {field.name for field in fields(cls)}
    if not set(values) <= expected:
        raise ValueError(
            f"its {cls.__name__} has fields {sorted(set(values) - expected)} that this version of "
            "the class has not"
        )
    # those of Equinox leave out some, as their constructors do
    missing = sorted(expected - set(values)) if _is_own(cls) else []
    if missing:
        raise ValueError(
            f"its {cls.__name__} lacks the fields {missing}, which this version of the class has; "
            "learn it again"
        )
    built = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(built, name, value)
    for part in cls.__mro__:
        if "__check_init__" in vars(part):
            vars(part)["__check_init__"](built)
    return built


def decode(code: Any, arrays: list[np.ndarray], known: Mapping[str, Any]) -> Any:
    """The model that `encode` wrote.

    Parameters
    ----------
    code
        Plain JSON.
    arrays
        The list it refers to.
    known
        Name -> class or function, besides those that are always known.

    Raises
    ------
    ValueError
        If it names what is not known, or makes no sense.
    """

    def again(code: Any) -> Any:
        return decode(code, arrays, known)

    match code:
        case bool() | int() | float() | str() | None:
            return code
        case {"float": text}:
            return float(text)
        case {"key": i, "impl": impl}:
            return jax.random.wrap_key_data(jnp.asarray(arrays[i]), impl=impl)
        case {"array": i, "dtype": dtype}:
            return jnp.asarray(_typed(arrays[i], dtype))
        case {"numpy": i, "dtype": dtype}:
            return _typed(arrays[i], dtype)
        case {"dict": pairs}:
            return {again(key): again(value) for key, value in pairs}
        case {"list": items}:
            return [again(item) for item in items]
        case {"tuple": items}:
            return tuple(again(item) for item in items)
        case {"partial": [func, args, keywords]}:
            return jax.tree_util.Partial(again(func), *again(args), **again(keywords))
        case {"class": name, "fields": values}:
            return _build(_find(name, known), {key: again(value) for key, value in values.items()})
        case {"method": str(name), "of": owner} if not name.startswith("_"):
            return getattr(again(owner), name)
        case {"name": name}:
            return _find(name, known)
    raise ValueError("its architecture makes no sense")


def _typed(array: np.ndarray, dtype: str) -> np.ndarray:
    """An array of the type it had: files know some types, such as bfloat16, by their size only."""
    return array if array.dtype.name == dtype else array.view(jnp.dtype(dtype))


def names(known: Iterable[Any]) -> dict[str, Any]:
    """Classes and functions by the names that files give them."""
    return {_name(thing): thing for thing in known}
