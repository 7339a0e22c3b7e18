"""Errors of calls whose model lacks its arguments, or in which they are in the wrong place."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from numpyro_score.hints import no_such_argument

HOW_TO_GIVE = "give the model's arguments as model_args=(...), model_kwargs={...}"
"""Where they belong."""
OF_A_DENSITY = "init_params=, with a leading chain axis, if this is a log density"
"""What is missing where a function of a position was given alone."""


def arguments_apart[**P, R](call: Callable[P, R]) -> Callable[P, R]:
    """Decorator whose errors say where arguments of the model belong.

    Parameters
    ----------
    call
        A function that takes `model_args` and `model_kwargs`.

    Raises
    ------
    TypeError
        On a call with too many arguments by position, or with a name that does not exist.

    Examples
    --------
    >>> @arguments_apart
    ... def run(kernel, *, model_args=(), model_kwargs=None):
    ...     return model_args
    >>> run("kernel", 3.0)  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    TypeError: run takes kernel by position, and no more, but 2 arguments are given so; give the
    model's arguments as model_args=(...), model_kwargs={...}.
    """
    parameters = inspect.signature(call).parameters
    name = getattr(call, "__name__", "the function")
    placed = [one.name for one in parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]

    @wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if len(args) > len(placed):
            raise TypeError(
                f"{name} takes {' and '.join(placed)} by position, and no more, but {len(args)} "
                f"arguments are given so; {HOW_TO_GIVE}."
            )
        for given in kwargs:
            if given not in parameters:
                raise TypeError(
                    f"{no_such_argument(name, given, list(parameters))} If it is the model's, "
                    f"{HOW_TO_GIVE}."
                )
        return call(*args, **kwargs)

    return checked


@contextmanager
def calling(
    model: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[None]:
    """Within it, the error of a model called with the wrong arguments says what to give.

    Parameters
    ----------
    model
        What is called, or None.
    args, kwargs
        What it is called with.

    Raises
    ------
    TypeError
        If the model's signature does not take them.

    Examples
    --------
    >>> def model(x, y): ...
    >>> with calling(model, (1.0,), {}):
    ...     model(1.0)  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    TypeError: model(x, y) cannot be called with what was given: missing a required argument: 'y';
    give the model's arguments as model_args=(...), model_kwargs={...}.
    """
    try:
        yield
    except TypeError as error:
        why = None if model is None else _why_not(model, args, kwargs)
        # a wrapper may show a signature that is not its own: only what Python says itself counts
        if why is None or "argument" not in str(error):
            raise
        # the traceback through JAX and NumPyro says no more
        density = "" if args or kwargs else f", or {OF_A_DENSITY}"
        raise TypeError(f"{why}; {HOW_TO_GIVE}{density}.") from None


def _why_not(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> str | None:
    """Why the model's signature does not take the arguments; None if it does."""
    try:
        signature = inspect.signature(model)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(model, "__name__", "the model")
        names = ", ".join(map(str, signature.parameters))
        return f"{name}({names}) cannot be called with what was given: {error}"
    return None
