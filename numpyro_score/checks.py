"""Checks of what a caller gives: whole numbers, numbers above 0, functions that make kernels.

Each names the argument and says what was given, what is expected and, with `hint`, what to do.
They run before anything is traced or compiled. A value that is traced by JAX cannot be looked at
and is let through.
"""

from typing import Any

import jax
import numpy as np


class NotWholeError(TypeError, ValueError):
    """An argument that has to be a whole number is of another type.

    It is a `TypeError`, and also a `ValueError`, so that a caller who guards against bad values
    of any kind needs to name only one of them.
    """


def check_whole(name: str, value: Any, least: int = 1, *, hint: str = "") -> None:
    """Check that `value` is a whole number of at least `least`.

    NumPy's integers pass. Floats do not, even `2.0`, and neither do Booleans.

    Parameters
    ----------
    name
        The argument's name, for the message.
    value
        What was given.
    least
        The smallest number that is allowed.
    hint
        What to do, appended to the message after a semicolon.

    Raises
    ------
    NotWholeError
        A `TypeError` and a `ValueError`: the value is not an integer.
    ValueError
        The value is less than `least`.

    Examples
    --------
    >>> check_whole("num_steps", 10)
    >>> check_whole("num_steps", 0)
    Traceback (most recent call last):
    ValueError: num_steps is 0, but must be a whole number of at least 1
    >>> check_whole("dim", 1, 2, hint="one variance has no ratio")
    Traceback (most recent call last):
    ValueError: dim is 1, but must be a whole number of at least 2; one variance has no ratio
    """
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if is_whole and value >= least:
        return
    given = value if is_whole else repr(value)
    message = f"{name} is {given}, but must be a whole number of at least {least}"
    error = ValueError if is_whole else NotWholeError
    raise error(f"{message}; {hint}" if hint else message)


def check_positive(name: str, value: Any, *, hint: str = "") -> None:
    """Check that `value`, a number or an array of numbers, is above 0 and finite.

    Parameters
    ----------
    name
        The argument's name, for the message.
    value
        What was given. Values traced by JAX pass.
    hint
        What to do, appended to the message after a semicolon.

    Raises
    ------
    ValueError
        The value, or an entry of it, is 0, negative, NaN or infinite.
    TypeError
        The value is not a real number.

    Examples
    --------
    >>> check_positive("step_size", 0.1)
    >>> check_positive("step_size", 0.0, hint="start from 0.1")
    Traceback (most recent call last):
    ValueError: step_size is 0.0 but must be above 0; start from 0.1
    """
    if isinstance(value, jax.core.Tracer):
        return
    numbers = np.asarray(value)  # NumPy: a constant stays one under jit
    if not np.issubdtype(numbers.dtype, np.number) or np.iscomplexobj(numbers):
        raise TypeError(f"{name} is {value!r} but must be a real number above 0")
    if not np.all(numbers > 0):
        expected = "above 0"
    elif not np.all(np.isfinite(numbers)):
        expected = "finite"
    else:
        return
    message = f"{name} is {value} but must be {expected}"
    raise ValueError(f"{message}; {hint}" if hint else message)


def check_kernel_factory(what: str, given: object, each: str) -> None:
    """Check that something is a function from a model to a kernel.

    Parameters
    ----------
    what
        What it is called in the message.
    given
        What was given.
    each
        What needs a kernel of its own.

    Raises
    ------
    TypeError
        If it is not.

    Examples
    --------
    >>> check_kernel_factory("kernel", "mala", "data set")
    Traceback (most recent call last):
    TypeError: kernel must be a function from a model to a kernel, since each data set needs its...
    """
    from numpyro.infer.mcmc import MCMCKernel

    if isinstance(given, MCMCKernel) or not callable(given):
        raise TypeError(
            f"{what} must be a function from a model to a kernel, since each {each} needs its "
            f"own, got {type(given).__name__}; give the class, or "
            "lambda model: MALA(model, dense_mass=True)"
        )
