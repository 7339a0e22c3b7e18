"""The default optimizer of `fit`: Adam with a learning rate that falls to 0 along a cosine.

The rate is a function of the share of the training that is done, which `fit` passes to the
optimizer, so one optimizer, and one compiled program, serves trainings of any length.
"""

import jax
import jax.numpy as jnp
import optax

from numpyro_score.checks import check_positive
from numpyro_score.types import Scalar

LEARNING_RATE = 2e-3
"""Highest learning rate of the default optimizer."""

WARMUP = 0.02
"""Share of the training in which the rate rises."""

LARGEST_NORM = 1.0
"""Largest norm of a gradient: longer ones are clipped to it."""


def scale_by_cosine(learning_rate: float) -> optax.GradientTransformationExtraArgs:
    """Scale by minus a rate that rises for a short while, then falls to 0 along a cosine.

    Parameters
    ----------
    learning_rate
        The highest rate.

    Returns
    -------
    A transformation whose update needs the keyword `progress`, the share of the training done.
    """

    def init(params: optax.Params) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: optax.Updates,
        state: optax.EmptyState,
        params: optax.Params | None = None,
        *,
        progress: Scalar,
        **extra: object,
    ) -> tuple[optax.Updates, optax.EmptyState]:
        del params, extra
        rise = jnp.minimum(progress / WARMUP, 1.0)
        fall = (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0.0, 1.0))) / 2
        rate = -learning_rate * rise * fall
        return jax.tree.map(lambda g: (rate * g).astype(g.dtype), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def cosine_adam(
    learning_rate: float = LEARNING_RATE,
) -> optax.GradientTransformationExtraArgs:
    """Adam with clipped gradients, and a rate that falls to 0 by the end of the training.

    `fit` passes it the share of the training done; elsewhere its update needs the keyword
    `progress`.

    Parameters
    ----------
    learning_rate
        The highest rate, above 0.

    Raises
    ------
    ValueError
        If it is not above 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> optimizer, params = cosine_adam(0.1), jnp.zeros(2)
    >>> updates, _ = optimizer.update(
    ...     jnp.array([3.0, -4.0]), optimizer.init(params), params, progress=0.5
    ... )
    >>> [round(float(u), 3) for u in updates]  # half way, half the rate
    [-0.05, 0.05]
    """
    check_positive("learning_rate", learning_rate, hint="1e-3 is usual")
    return optax.chain(
        optax.clip_by_global_norm(LARGEST_NORM),
        optax.scale_by_adam(),
        scale_by_cosine(learning_rate),
    )


DEFAULT = cosine_adam()
"""One object, so that every training with it finds the same compiled program."""
