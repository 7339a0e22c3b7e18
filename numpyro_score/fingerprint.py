"""Identity by value: a digest of arrays, containers, functions and objects.

Two things have one fingerprint if they hold the same values, in this process or another one. A
program that was compiled for some data is found again by it, and a store knows by it whose draws it
holds.

A function counts by its name, its code, its defaults, what its closure holds and, unless it belongs
to an installed package, by the global variables that it reads. An object counts by its type and by
what a pytree registration or `pickle` would take of it; what neither can take apart counts by its
type alone. Addresses, line numbers, docstrings and the order of a dict's keys do not count.
"""

import functools
import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np
from numpyro.distributions import Distribution

from numpyro_score.conversion import drop_old_conversions

PLAIN = (type(None), bool, int, float, complex, str, bytes)
"""Types whose `repr` is their value."""

_INSTALLED = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(__file__).parent)}
)


def fingerprint(*things: Any) -> str:
    """Digest of the values of anything.

    Parameters
    ----------
    things
        Arrays, numbers, containers, functions, objects. A traced array has no value yet and counts
        by its identity.

    Returns
    -------
    32 hexadecimal digits (half of a SHA-256, which reads about 1 GB of arrays a second).

    Examples
    --------
    >>> y = np.zeros(3)
    >>> before = fingerprint({"y": y, "scale": 1.0})
    >>> before == fingerprint({"scale": 1.0, "y": np.zeros(3)})
    True
    >>> y[1] = 5.0
    >>> before == fingerprint({"y": y, "scale": 1.0})
    False
    """
    return _Reader().digest(things).hex()


def describe(value: Any) -> Any:
    """A plain value as it is; anything else as its name and the beginning of its fingerprint.

    Parameters
    ----------
    value
        A setting of a kernel, for instance.

    Examples
    --------
    >>> describe(0.5), describe(np.zeros(2))
    (0.5, 'ndarray(2,):e48a104712bd')
    """
    if isinstance(value, PLAIN):
        return value
    shape = getattr(value, "shape", "")
    return f"{name_of(value)}{shape}:{fingerprint(value)[:12]}"


def name_of(thing: Any) -> str:
    """What a function or a class is called; the name of its type for any other object.

    Parameters
    ----------
    thing
        Anything.

    Examples
    --------
    >>> name_of(describe), name_of(1.5)
    ('describe', 'float')
    """
    name = getattr(thing, "__qualname__", None)
    return name if isinstance(name, str) else type(thing).__qualname__


def _full_name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{name_of(thing)}"


class _Reader:
    """Digests of things that refer to each other, each read once."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}
        self._open: dict[int, int] = {}
        # an identity is not taken over by another object while these live
        self._kept: list[Any] = []

    def digest(self, thing: Any) -> bytes:
        """16 bytes."""
        if isinstance(thing, PLAIN):
            return _hash("plain", type(thing).__qualname__, repr(thing))
        place = id(thing)
        if place in self._known:
            return self._known[place]
        if place in self._open:
            # a cycle: known by how far up it closes
            return _hash("cycle", str(len(self._open) - self._open[place]))
        self._open[place] = len(self._open)
        self._kept.append(thing)
        try:
            found = self._read(thing)
        finally:
            del self._open[place]
        self._known[place] = found
        return found

    def _all(self, kind: str, things: Any) -> bytes:
        return _hash(kind, *(self.digest(thing) for thing in things))

    def _unordered(self, kind: str, things: Any) -> bytes:
        return _hash(kind, *sorted(self.digest(thing) for thing in things))

    def _read(self, thing: Any) -> bytes:
        if isinstance(thing, jax.core.Tracer):
            return _hash("tracer", str(id(thing)))
        if isinstance(thing, jax.Array):
            return self._jax_array(thing)
        if isinstance(thing, np.ndarray | np.generic):
            if isinstance(thing, np.ndarray):
                # who asks for the values is about to trace what holds them
                drop_old_conversions(thing)
            return self._array(thing)
        if isinstance(thing, dict):
            return self._unordered(_full_name(type(thing)), thing.items())
        if isinstance(thing, set | frozenset):
            return self._unordered(type(thing).__name__, thing)
        if isinstance(thing, list | tuple):
            name = _full_name(type(thing))
            if all(type(x) in PLAIN for x in thing):
                return _hash(name, repr(list(thing)))
            return self._all(name, thing)
        if isinstance(thing, bytearray | memoryview):
            return _hash("bytes", bytes(thing))
        return self._callable_or_object(thing)

    def _jax_array(self, array: jax.Array) -> bytes:
        if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
            impl = str(jax.random.key_impl(array))
            return _hash("key", impl, self._jax_array(jax.random.key_data(array)))
        if array.is_fully_addressable:
            return self._array(np.asarray(array))
        parts = [(str(x.index), np.asarray(x.data)) for x in array.addressable_shards]
        return self._all(f"shards{array.shape}", parts)

    def _array(self, array: Any) -> bytes:
        what: tuple[str | bytes, ...] = ("array", f"{array.dtype!r}{array.shape}")
        if array.dtype.hasobject or array.dtype.kind == "T":
            return _hash(*what, self.digest(array.tolist()))
        if isinstance(array, np.ma.MaskedArray):
            what = (*what, np.ma.getmaskarray(array).tobytes())
        # without a copy, and in a type that every buffer can have
        whole = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return _hash(*what, memoryview(whole))

    def _callable_or_object(self, thing: Any) -> bytes:
        if isinstance(thing, FunctionType):
            return self._function(thing)
        if isinstance(thing, MethodType):
            return self._all("method", (thing.__func__, thing.__self__))
        if isinstance(thing, functools.partial):
            return self._all("partial", (thing.func, thing.args, thing.keywords))
        if isinstance(thing, type | BuiltinFunctionType | ModuleType):
            return _hash("name", _full_name(thing), getattr(thing, "__name__", ""))
        if isinstance(thing, CodeType):
            return self._code(thing, None)
        name = _full_name(type(thing))
        if isinstance(thing, Distribution):
            return _hash(name, self.digest(_fields(thing)))
        taken_apart = jax.tree_util.default_registry.flatten_one_level(thing)
        if taken_apart is not None:
            children, rest = taken_apart
            return self._all(name, (list(children), rest))
        wrapped = getattr(thing, "__wrapped__", None)
        if callable(wrapped):
            return self._all(name, (wrapped,))
        return self._object(name, thing)

    def _object(self, name: str, thing: Any) -> bytes:
        try:
            parts: Any = thing.__reduce_ex__(4)
        except Exception:
            # a lock, a generator, an open file; or an object that holds one
            return self._all(name, (getattr(thing, "__dict__", None),))
        if isinstance(parts, str):
            return _hash("name", name, parts)
        # how to make it, from what, its state, and iterators over items of a list and of a dict
        contents = [list(x) if isinstance(x, Iterator) else x for x in parts]
        return self._all(name, contents)

    def _function(self, fn: FunctionType) -> bytes:
        cells = [_content(cell) for cell in fn.__closure__ or ()]
        parts = [fn.__defaults__, fn.__kwdefaults__, cells]
        if not fn.__code__.co_filename.startswith(_INSTALLED):
            parts.append(_read_globals(fn))
        code = self._code(fn.__code__, fn.__doc__)
        return _hash("function", _full_name(fn), code, *map(self.digest, parts))

    def _code(self, code: CodeType, doc: str | None) -> bytes:
        constants = [x for x in code.co_consts if doc is None or x != doc]
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        return _hash("code", code.co_code, repr(names), self._all("constants", constants))


def _hash(*parts: str | bytes | memoryview) -> bytes:
    """16 bytes of the parts, each set apart from the next by its length."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.digest()[:16]


def _fields(distribution: Distribution) -> dict[str, Any]:
    """Parameters by name: NumPyro flattens them in the order of a set, another in every process."""
    kind = type(distribution)
    data, aux = distribution.tree_flatten()
    return {
        **dict(zip(kind.gather_pytree_aux_fields(), aux, strict=True)),
        **{
            k: v
            for k, v in zip(kind.gather_pytree_data_fields(), data, strict=True)
            if v is not None
        },
    }


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "empty"


def _read_globals(fn: FunctionType) -> dict[str, Any]:
    """Data and functions of the user's own that a function reads from its module."""
    names: set[str] = set()
    codes = [fn.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [x for x in code.co_consts if isinstance(x, CodeType)]
    values = {name: fn.__globals__[name] for name in names if name in fn.__globals__}
    return {name: value for name, value in values.items() if _counts(value)}


def _counts(value: Any) -> bool:
    """Whether a global variable is data or a function; modules, classes and services are not."""
    if isinstance(value, type | ModuleType):
        return False
    is_data = isinstance(value, (*PLAIN, dict, list, tuple, set, frozenset))
    is_function = isinstance(value, FunctionType | functools.partial)
    has_values = hasattr(type(value), "__array__")
    is_tree = jax.tree_util.default_registry.flatten_one_level(value) is not None
    return is_data or is_function or has_values or is_tree or hasattr(value, "__wrapped__")
