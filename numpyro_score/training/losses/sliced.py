"""Sliced score matching: the trace of the Jacobian along random directions.

    explicit:            1/2 E (v . s(x) - v . grad log p(x))^2
    implicit:            E [ v . ds/dx v + 1/2 (v . s(x))^2 ]
    variance-reduced:    E [ v . ds/dx v + 1/2 |s(x)|^2 ]

with `E[v v^T] = I`, so that each is in expectation its unsliced form (Song, Garg, Shi and Ermon
2019, arXiv:1905.07088). A direction costs one directional derivative, whatever the dimension. For
Rademacher directions (entries +1 or -1) the estimate of the trace has the least variance of the
three below.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.training.losses.base import (
    Batch,
    Point,
    as_batch,
    check_score,
    squared_norm,
)
from numpyro_score.types import RngKey, ScoreFn

Projection: TypeAlias = Callable[[Any, Any, Any], Any]
"""(rng_key, shape, dtype) -> random directions, `(num, *event)` with `E[v v^T] = I` an event."""


def rademacher(rng_key: RngKey, shape: tuple[int, ...], dtype: Any) -> Array:
    """Entries +1 or -1, each with probability 1/2.

    Parameters
    ----------
    rng_key
        One random key.
    shape
        `(num, *event)`.
    dtype
        A float type.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> v = rademacher(jax.random.key(0), (3, 2), jnp.float32)
    >>> jnp.abs(v).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    return jax.random.rademacher(rng_key, shape, dtype)


def gaussian(rng_key: RngKey, shape: tuple[int, ...], dtype: Any) -> Array:
    """Directions with independent standard normal entries.

    Parameters
    ----------
    rng_key
        One random key.
    shape
        `(num, *event)`.
    dtype
        A float type.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> v = gaussian(jax.random.key(0), (3, 2), jnp.float32)
    >>> v.shape
    (3, 2)
    """
    return jax.random.normal(rng_key, shape, dtype)


def sphere(rng_key: RngKey, shape: tuple[int, ...], dtype: Any) -> Array:
    """Uniform on the sphere of radius `sqrt(dim)`, a vector for each entry of the first axis.

    Parameters
    ----------
    rng_key
        One random key.
    shape
        `(num, *event)`.
    dtype
        A float type.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> v = sphere(jax.random.key(0), (3, 2), jnp.float32)
    >>> (v**2).sum(axis=1).round(3).tolist()  # each of length sqrt(2)
    [2.0, 2.0, 2.0]
    """
    v = jax.random.normal(rng_key, shape, dtype)
    axes = tuple(range(1, v.ndim))
    dim = v[0].size
    return v * jnp.sqrt(dim / jnp.sum(v**2, axis=axes, keepdims=True))


def _mean_over_directions(
    fn: Callable[[Point, Point], Any],
    batch: Batch,
    rng_key: RngKey,
    projection: Projection,
    num_projections: int,
) -> Float[Array, ""]:
    """Mean of `fn(point, direction)`, each point with directions of its own."""
    num, *event = batch.shape
    shape = (num * num_projections, *event)
    v = projection(rng_key, shape, batch.dtype).reshape(num, num_projections, *event)
    return jnp.mean(jax.vmap(jax.vmap(fn, in_axes=(None, 0)))(batch, v))


@final
class SlicedScoreMatching(eqx.Module):
    """Implicit score matching along random directions, for a model `s(x)`.

    Parameters
    ----------
    projection
        Distribution of the directions: `rademacher`, `gaussian`, `sphere`, or a function like them.
    num_projections
        Directions a point.
    variance_reduced
        Whether `|s|^2` is taken whole, and not along the direction.

    Raises
    ------
    ValueError
        If there is no direction; when called, if the model does not fit the batch.

    Examples
    --------
    Rademacher directions know the trace of a diagonal Jacobian exactly:

    >>> import jax, jax.numpy as jnp
    >>> batch = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> float(SlicedScoreMatching()(lambda x: -x, batch, jax.random.key(0)))
    -1.5
    """

    projection: Projection = rademacher
    num_projections: int = 1
    variance_reduced: bool = True

    def __check_init__(self) -> None:
        check_whole("num_projections", self.num_projections)

    def __call__(self, model: Any, batch: Batch, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *event)`."""
        batch = as_batch(batch)
        check_score(model, batch[0])

        def loss(x: Point, v: Point) -> Float[Array, ""]:
            score, slope = jax.jvp(model, (x,), (v,))
            along = jnp.sum(v * slope)
            if self.variance_reduced:
                return along + squared_norm(score) / 2
            return along + jnp.sum(v * score) ** 2 / 2

        return _mean_over_directions(loss, batch, rng_key, self.projection, self.num_projections)


@final
class ExplicitSlicedScoreMatching(eqx.Module):
    """`1/2 E (v^T (s(x) - target(x)))^2` for a model `s(x)`.

    Parameters
    ----------
    target
        Point -> its true score, or that of a density estimate.
    projection, num_projections
        As in `SlicedScoreMatching`.

    Raises
    ------
    ValueError
        If there is no direction; when called, if the model or target does not fit the batch.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> loss = ExplicitSlicedScoreMatching(lambda x: -x)
    >>> batch = jnp.ones((3, 1))
    >>> float(loss(lambda x: -2 * x, batch, jax.random.key(0)))  # (1 * (2 - 1))^2 / 2
    0.5
    """

    target: ScoreFn
    projection: Projection = rademacher
    num_projections: int = 1

    def __check_init__(self) -> None:
        check_whole("num_projections", self.num_projections)

    def __call__(self, model: Any, batch: Batch, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *event)`."""
        batch = as_batch(batch)
        check_score(model, batch[0])
        check_score(self.target, batch[0])

        def loss(x: Point, v: Point) -> Float[Array, ""]:
            return jnp.sum(v * (model(x) - self.target(x))) ** 2 / 2

        return _mean_over_directions(loss, batch, rng_key, self.projection, self.num_projections)
