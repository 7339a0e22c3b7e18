"""Rosenbrock's function as a density: pairs of coordinates along a narrow parabola."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.targets.base import DensityTarget
from numpyro_score.targets.expectation import moments
from numpyro_score.types import RngKey

WIDTH = 0.1
"""Variance of `y - x^2` given `x`."""


def _logdensity(position: Float[Array, " dim"]) -> Float[Array, ""]:
    x, y = jnp.split(position, 2)
    return -0.5 * jnp.sum((x - 1) ** 2 + (y - x**2) ** 2 / WIDTH)


def _draw(rng_key: RngKey, num_pairs: int) -> Float[Array, " dim"]:
    x, noise = jax.random.normal(rng_key, (2, num_pairs))
    x = x + 1
    return jnp.concatenate([x, x**2 + jnp.sqrt(WIDTH) * noise])


def rosenbrock(dim: int = 36) -> DensityTarget:
    """Rosenbrock's function: `x_i ~ N(1, 1)`, `y_i | x_i ~ N(x_i^2, .1)` (variances), in pairs.

    The curvature along and across the parabola differs from place to place, so that no
    preconditioner suits all of it. With `x = 1 + z`: `E[x^4] = 10`, `E[x^8] = 764`, hence
    `E[y] = 2`, `E[y^2] = 10 + w`, `E[y^4] = 764 + 60 w + 3 w^2`, `w = .1`.

    Parameters
    ----------
    dim
        Dimension, even, at least 2: all `x_i`, then all `y_i`.

    Raises
    ------
    ValueError
        If the dimension is odd or below 2.

    Examples
    --------
    >>> target = rosenbrock(4)
    >>> target.expectations[1].truth.tolist()
    [2.0, 2.0, 10.1, 10.1]
    """
    check_whole("dim", dim, 2, hint="coordinates come in pairs")
    if dim % 2:
        raise ValueError(f"dim is {dim}, but coordinates come in pairs; give an even number.")
    pairs = dim // 2

    def both(x: Any, y: Any) -> Float[np.ndarray, " dim"]:
        return np.repeat([x, y], pairs).astype(float)

    return DensityTarget(
        name="rosenbrock",
        description=f"x_i ~ N(1, 1), y_i | x_i ~ N(x_i^2, variance {WIDTH:g}), i = 1..{pairs}",
        dim=dim,
        logdensity_fn=_logdensity,
        expectations=moments(
            "x", both(1, 2), both(2, 10 + WIDTH), both(10, 764 + 60 * WIDTH + 3 * WIDTH**2)
        ),
        draw_fn=partial(_draw, num_pairs=pairs),
    )
