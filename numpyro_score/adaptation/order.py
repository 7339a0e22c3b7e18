"""Sorted values and the median of a few numbers, without XLA's sort.

On a CPU, XLA compiles a small loop as one function, in half to two thirds of the time that it takes
otherwise. A sort anywhere in the loop prevents that. In the loop of a sampler there are as
many numbers as chains: each one's rank is a count of those below it.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

MOST_RANKED = 128
"""Numbers up to which every pair is compared. Loops of more chains are not small."""


def ascending(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """The values in ascending order, as `jax.numpy.sort` has them.

    Parameters
    ----------
    values
        Numbers without NaN, shape `(n,)`; infinities are ordered too.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> ascending(jnp.array([2.0, -jnp.inf, 2.0, 1.0])).tolist()
    [-inf, 1.0, 2.0, 2.0]
    """
    n = values.size
    if n > MOST_RANKED:
        return jnp.sort(values)
    number = jnp.arange(n)
    # equal values keep their order, so that every rank occurs once
    is_before = (values[None] < values[:, None]) | (
        (values[None] == values[:, None]) & (number[None] < number[:, None])
    )
    rank = jnp.sum(is_before, axis=1)
    return jnp.max(jnp.where(rank[None] == number[:, None], values[None], -jnp.inf), axis=1)


def median(values: Float[Array, " n"]) -> Float[Array, ""]:
    """The median, as `jax.numpy.median` has it.

    Parameters
    ----------
    values
        Numbers, shape `(n,)`; with a NaN among them the median is NaN.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(median(jnp.array([4.0, 1.0, 3.0, 2.0])))
    2.5
    """
    ordered, n = ascending(values), values.size
    middle = 0.5 * ordered[(n - 1) // 2] + 0.5 * ordered[n // 2]
    return jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, middle)
