"""Implicit score matching: no density needed, at the price of the trace of a Jacobian.

    J(s) = E_p [ tr(ds/dx) + 1/2 |s(x)|^2 ]

is explicit score matching up to a constant, by integration by parts (Hyvarinen 2005,
jmlr.org/papers/v6/hyvarinen05a.html, theorem 1), where p s vanishes at infinity. The trace is
exact here and costs one directional derivative a coordinate; `sliced` estimates it.
"""

from typing import Any

from jaxtyping import Array, Float

from numpyro_score.divergence import exact_divergence
from numpyro_score.training.losses.base import (
    Batch,
    Point,
    as_batch,
    check_score,
    mean_over,
    squared_norm,
)
from numpyro_score.types import RngKey


def implicit_score_matching(model: Any, batch: Batch, rng_key: RngKey) -> Float[Array, ""]:
    """`E [tr(ds/dx) + 1/2 |s|^2]` for a model `s(x)`.

    Parameters
    ----------
    model
        Point -> score.
    batch
        Draws from the density, `(batch, *event)`.
    rng_key
        Not used.

    Raises
    ------
    ValueError
        If the model does not fit the batch.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> batch = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> float(implicit_score_matching(lambda x: -x, batch, jax.random.key(0)))  # -2 + 1/2
    -1.5
    """
    del rng_key
    batch = as_batch(batch)
    check_score(model, batch[0])

    def loss(x: Point) -> Float[Array, ""]:
        score, divergence = exact_divergence(model, x)
        return divergence + squared_norm(score) / 2

    return mean_over(loss, batch)
