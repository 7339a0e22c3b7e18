"""Keyword arguments that were renamed: the old name works for one more version, with a warning."""

import functools
import warnings
from collections.abc import Callable


def renamed_arguments[**P, R](**new_names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator that accepts old names of keyword arguments and warns of each that is used.

    The decorated function has the signature, type and help text of the undecorated one, which
    show the new names only. To decorate a class, decorate its `__init__`.

    Parameters
    ----------
    **new_names
        Old name -> new name.

    Raises
    ------
    TypeError
        When the function is called with an old name and its new one at the same time.

    Examples
    --------
    >>> import warnings
    >>> @renamed_arguments(eps="step_size")
    ... def double(step_size: float) -> float:
    ...     return 2 * step_size
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     double(eps=0.5)
    1.0
    >>> print(caught[0].message)
    double: the argument 'eps' is now called 'step_size'; the old name works in this version only
    """

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        name = fn.__qualname__.removesuffix(".__init__")

        @functools.wraps(fn)
        def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in new_names.items():
                if old not in kwargs:
                    continue
                if new in kwargs:
                    raise TypeError(f"{name}: {new!r} is given twice, also by its old name {old!r}")
                warnings.warn(
                    f"{name}: the argument {old!r} is now called {new!r}; the old name works in "
                    "this version only",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)
            return fn(*args, **kwargs)

        return renamed

    return decorate
