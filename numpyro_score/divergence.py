"""The divergence of a vector field: the trace of its Jacobian, exact or estimated.

The exact trace costs one directional derivative for each dimension. Random signs `e` estimate it
without bias by `e . J e` (Hutchinson 1990, doi:10.1080/03610919008812866). The basis vectors, or
the signs, share one linearization, so that the field itself is evaluated once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

type Event = Float[Array, "..."]
"""One point, of any shape."""


def exact_divergence(field: Callable[[Event], Event], x: Event) -> tuple[Event, Float[Array, ""]]:
    """A vector field and its divergence at one point.

    Parameters
    ----------
    field
        Point -> vector of the point's shape.
    x
        The point.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> value, trace = exact_divergence(lambda x: x**2, jnp.array([1.0, 3.0]))
    >>> value.tolist(), float(trace)
    ([1.0, 9.0], 8.0)
    """
    value, derivative, flat = _linearized(field, x)
    columns = jax.vmap(derivative)(jnp.eye(flat.size, dtype=x.dtype))
    return value.reshape(x.shape), jnp.trace(columns)


def estimated_divergence(
    signs: Float[Array, "probes dim"], field: Callable[[Event], Event], x: Event
) -> tuple[Event, Float[Array, " probes"]]:
    """A vector field and unbiased estimates of its divergence at one point.

    Parameters
    ----------
    signs
        Independent random signs; each row gives one estimate.
    field, x
        As for `exact_divergence`.

    Examples
    --------
    A diagonal Jacobian is estimated without error:

    >>> import jax.numpy as jnp
    >>> signs = jnp.array([[1.0, -1.0]])
    >>> float(estimated_divergence(signs, lambda x: x**2, jnp.array([1.0, 3.0]))[1][0])
    8.0
    """
    value, derivative, _ = _linearized(field, x)
    signs = signs.astype(x.dtype)
    return value.reshape(x.shape), jnp.sum(signs * jax.vmap(derivative)(signs), axis=1)


def _linearized(
    field: Callable[[Event], Event], x: Event
) -> tuple[Array, Callable[[Array], Array], Array]:
    """The field of flat points: its value, its derivative as a linear map, and the flat point."""
    flat = x.reshape(-1)
    value, derivative = jax.linearize(lambda flat: field(flat.reshape(x.shape)).reshape(-1), flat)
    return value, derivative, flat
