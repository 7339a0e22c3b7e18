"""beartype checks every annotation of the package whenever a function is called, in traces too."""

import importlib._bootstrap_external
import importlib.util
import sys
import warnings
from collections.abc import Callable
from functools import partial, wraps
from types import FunctionType, ModuleType
from typing import Any, ForwardRef, Self, TypeAliasType, TypeVar, get_args

import jaxtyping
from beartype import beartype
from beartype.roar import (
    BeartypeDecorHintPep585DeprecationWarning,
    BeartypeDecorHintPep673Exception,
)

shape_checked: Any = jaxtyping.jaxtyped


def check_package() -> None:
    """Install the checks; before the package is first imported."""
    # jaxtyping's hook writes an import of its checker into the package's modules
    checker = ModuleType("numpyro_score_typecheck")
    checker.typechecked = typechecked  # type: ignore[attr-defined]
    sys.modules[checker.__name__] = checker
    # and calls this on every class and function
    jaxtyping.jaxtyped = checked  # type: ignore[assignment]
    hook = jaxtyping.install_import_hook("numpyro_score", f"{checker.__name__}.typechecked").hook
    find_spec = hook.find_spec

    def found(*args: Any) -> Any:
        spec = find_spec(*args)
        if spec is not None:
            spec.loader.get_code = named_alone(spec.loader.get_code)
        return spec

    hook.find_spec = found  # type: ignore[method-assign]


def named_alone[**P, R](get_code: Callable[P, R]) -> Callable[P, R]:
    """`get_code` of a module, after which bytecode has its usual names again.

    jaxtyping has a name of its own for bytecode until the module has run. What the module imports
    would be looked for under it too, and as it isn't there, a thousand files be compiled anew.
    """

    @wraps(get_code)
    def get(*args: P.args, **kwargs: P.kwargs) -> R:
        code = get_code(*args, **kwargs)
        external: Any = importlib._bootstrap_external
        external.cache_from_source = importlib.util.cache_from_source
        return code

    return get


def typechecked[F: Callable[..., Any]](fn: F) -> F:
    """`beartype`, but for methods that return `Self`, which it knows in decorated classes only."""
    try:
        with warnings.catch_warnings():
            # annotations of other packages, that they spell as older Pythons had it
            warnings.simplefilter("ignore", BeartypeDecorHintPep585DeprecationWarning)
            return beartype(fn)
    except BeartypeDecorHintPep673Exception:
        return fn


def checked(thing: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """jaxtyping's `jaxtyped`, without its cost where there is no array.

    It costs several times what beartype does, which checks such functions all the same.
    """
    if thing is None:
        return partial(checked, typechecker=typechecker)
    if not isinstance(thing, FunctionType) or any(map(names_an_array, annotations(thing))):
        return shape_checked(thing, typechecker=typechecker)
    strict = typechecker(thing)

    @wraps(thing)
    def either(*args: Any, **kwargs: Any) -> Any:
        return (thing if jaxtyping.config.jaxtyping_disable else strict)(*args, **kwargs)

    return either


def annotations(fn: FunctionType) -> list[Any]:
    return list(fn.__annotations__.values())


def names_an_array(hint: Any) -> bool:
    """Whether an annotation says something of an array's shape, or may."""
    if isinstance(hint, TypeAliasType):
        return names_an_array(hint.__value__)
    if isinstance(hint, list | tuple):
        return any(map(names_an_array, hint))
    # what these stand for cannot be seen here
    if hint is Self or isinstance(hint, str | TypeVar | ForwardRef):
        return True
    return type(hint).__module__.startswith("jaxtyping.") or names_an_array(get_args(hint))
