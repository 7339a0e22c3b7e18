"""What losses share: the protocol, calls of a model that are checked before compilation.

A loss is `loss(model, batch, rng_key) -> scalar`, the mean over a batch `(batch, *event)`. It is a
function, or a final Equinox module where it has settings. One that carries something from step to
step, such as the particles of persistent contrastive divergence, is a `StatefulLoss`.

Whether a model suits a loss is found out while JAX traces the loss, which is before anything is
compiled.

Score matching: Hyvärinen 2005, JMLR 6. Persistent chains: Tieleman 2008,
doi:10.1145/1390156.1390290.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.types import RngKey

Batch = Float[Array, "batch *event"]
Point = Float[Array, "..."]
Loss: TypeAlias = Callable[[Any, Any, Any], Any]
"""(model, batch, rng_key) -> scalar."""


class StatefulLoss(eqx.Module):
    """The interface of a loss with a memory; `fit` carries its state from step to step.

    `init` makes the state from a first batch, `update` gives the loss and the next state.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> class CountedLoss(StatefulLoss):
    ...     def init(self, model, batch, rng_key):
    ...         return jnp.zeros(())
    ...
    ...     def update(self, model, batch, rng_key, state):
    ...         return jnp.mean(jax.vmap(model)(batch) ** 2), state + 1
    >>> loss, key = CountedLoss(), jax.random.key(0)
    >>> value, state = loss.update(jnp.sum, jnp.ones((4, 2)), key, loss.init(None, None, key))
    >>> float(value), float(state)
    (4.0, 1.0)
    """

    @abstractmethod
    def init(self, model: Any, batch: Any, rng_key: RngKey) -> Any:
        """State to start from, a pytree of arrays."""

    @abstractmethod
    def update(
        self, model: Any, batch: Any, rng_key: RngKey, state: Any
    ) -> tuple[Float[Array, ""], Any]:
        """Loss of a batch, and the state after it."""


def as_batch(batch: Any) -> Batch:
    """A batch as an array of a float type.

    Raises
    ------
    ValueError
        If it has no leading axis, or no points.
    """
    batch = jnp.asarray(batch)
    if batch.ndim == 0 or batch.size == 0:
        raise ValueError(
            f"a batch has shape {batch.shape}; a loss needs at least one point, shape "
            "(batch, *event)"
        )
    floating = jnp.issubdtype(batch.dtype, jnp.floating)
    return batch if floating else batch.astype(jnp.result_type(float))


def _words(shapes: tuple[Any, ...]) -> str:
    return ", ".join(f"{jnp.shape(x)}" for x in shapes if x is not None)


def output_of(model: Any, *args: Any) -> Any:
    """Shape and type of what a model makes of one point, without computing it.

    Raises
    ------
    TypeError
        If the model cannot be called.
    ValueError
        If it does not take such a point.
    """
    if not callable(model):
        raise TypeError(
            f"the model is a {type(model).__name__}, which cannot be called; give a callable of "
            "one point, such as a network from numpyro_score.scores"
        )
    try:
        return eqx.filter_eval_shape(model, *args)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the model does not take arguments of shapes {_words(args)} ({error}); a loss calls "
            "it with one point of the data, without a batch axis, and a scalar time where it has "
            "one. Does it have the data's dimension?"
        ) from error


def check_score(model: Any, point: Point, *args: Any) -> None:
    """Refuse a model whose output is not like the point it is given.

    Parameters
    ----------
    model
        The score; called as `model(point, *args)`.
    point
        One point of the data, or its shape and type.
    args
        What else it takes: the time, the condition.

    Raises
    ------
    TypeError, ValueError
        If it cannot be called so, or returns another shape.
    """
    out = output_of(model, point, *args)
    if jnp.shape(out) != jnp.shape(point):
        raise ValueError(
            f"the model gives shape {jnp.shape(out)} for a point of shape {jnp.shape(point)}; a "
            "score has the shape of its point"
        )


def squared_norm(x: Point) -> Float[Array, ""]:
    """Sum of squares over all axes of one event."""
    return jnp.sum(x**2)


def mean_over(fn: Callable[..., Any], *batches: Any) -> Float[Array, ""]:
    """Mean of a function of one point over a batch of them."""
    return jnp.mean(jax.vmap(fn)(*batches))
