"""What one evaluation of a gradient costs, the same on every machine: elements that it computes."""

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from numpyro_score.types import LogDensityFn


def num_elements(logdensity_fn: LogDensityFn, position: Any) -> int:
    """Elements of all arrays that the operations of one gradient make; nothing is evaluated.

    Loops count as often as they run, and once where that is not known before.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density.
    position
        A position, or its shapes.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> few = num_elements(lambda x: -jnp.sum(x**2), jnp.ones(10))
    >>> many = num_elements(lambda x: -jnp.sum(x**2), jnp.ones(1_000))
    >>> 20 < few < 100 < 2_000 < many < 10_000
    True
    """
    return _of(jax.make_jaxpr(jax.value_and_grad(logdensity_fn))(position).jaxpr)


def _of(jaxpr: Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        inner = list(_inner(equation.params))
        if inner:
            total += equation.params.get("length", 1) * sum(_of(one) for one in inner)
        else:
            avals: list[Any] = [x.aval for x in equation.outvars]
            total += sum(math.prod(aval.shape) for aval in avals)
    return total


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The programs within an operation."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, Jaxpr):
                yield one
