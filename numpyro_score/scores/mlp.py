"""Fully connected networks for vectors: `TwoLayer` and `ResidualMLP`.

Both are called as `network(u, level, y)` with one point `u` of variance 1. `ScoreNetwork` makes a
score of them.

Residual blocks: He et al. 2016, arXiv:1512.03385. Two layers: Montanari 2023, arXiv:2305.10690.
"""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.scores.features import Features
from numpyro_score.types import RngKey

NEAR_ZERO = 1e-5
"""Factor that multiplies the usual initial weights of last layers."""


def check_event(x: Array, shape: tuple[int, ...]) -> None:
    """Check that a point has the shape that the network was made for."""
    if x.shape != shape:
        raise ValueError(
            f"the point has shape {x.shape} but the network was made for {shape}; it takes one "
            "point, jax.vmap a batch"
        )


def near_zero[Layer](layer: Layer) -> Layer:
    """The layer with near-zero initial parameters, so that the network's output starts near 0.

    They are not exactly 0: XLA's CPU compiler (jax 0.12) miscompiles products with constant
    matrices of equal entries.
    """
    return jax.tree.map(lambda weight: NEAR_ZERO * weight, layer)


def as_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a point as a tuple, from a length or a shape."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    for axis, size in enumerate(shape):
        check_whole(f"size {axis} of the shape", size)
    return shape


@final
class TwoLayer(eqx.Module):
    """Two fully connected layers with a ReLU between them: `W_2 relu(W_1 [u, level] + b_1) + b_2`.

    Parameters
    ----------
    shape
        Length of a point, or its shape, which is flattened.
    width
        Hidden units.
    y_dim
        Length of the condition, 0 for none.
    rng_key
        For the initial weights.

    Raises
    ------
    ValueError
        If a size is below 1; when called, if the point or condition has another shape.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> network = TwoLayer(3, width=16, rng_key=jax.random.key(0))
    >>> network(jnp.ones(3), jnp.array(0.5)).shape
    (3,)
    """

    hidden: eqx.nn.Linear
    out: eqx.nn.Linear
    features: Features
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self, shape: int | tuple[int, ...], width: int = 256, y_dim: int = 0, *, rng_key: RngKey
    ):
        self.shape = as_shape(shape)
        check_whole("width", width)
        dim = math.prod(self.shape)
        key_hidden, key_out = jax.random.split(rng_key)
        self.features = Features(y_dim)
        self.hidden = eqx.nn.Linear(dim + self.features.size, width, key=key_hidden)
        self.out = eqx.nn.Linear(width, dim, key=key_out)

    def __call__(
        self,
        u: Float[Array, "..."],
        level: Float[Array, ""],
        y: Float[Array, " condition"] | None = None,
    ) -> Float[Array, "..."]:
        """Output of `u`'s shape."""
        check_event(u, self.shape)
        hidden = self.hidden(jnp.concatenate([u.reshape(-1), self.features(level, y)]))
        return self.out(jax.nn.relu(hidden)).reshape(self.shape)


@final
class ResidualMLP(eqx.Module):
    """Residual blocks `h + W silu(h + c)`; the vector `c` of a block encodes level and condition.

    Parameters
    ----------
    shape
        Length of a point, or its shape, which is flattened.
    width
        Units of a layer; 64 suffice for mixtures of a few modes in up to 10 dimensions.
    depth
        Blocks.
    y_dim
        Length of the condition, 0 for none.
    rng_key
        For the initial weights; the last layer starts near 0.

    Raises
    ------
    ValueError
        If a size is below 1; when called, if the point or condition has another shape.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> network = ResidualMLP(3, width=16, rng_key=jax.random.key(0))
    >>> bool(abs(network(jnp.ones(3), jnp.array(0.5))).max() < 1e-3)
    True
    """

    first: eqx.nn.Linear
    level: eqx.nn.Linear
    blocks: tuple[eqx.nn.Linear, ...]
    last: eqx.nn.Linear
    features: Features
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: int | tuple[int, ...],
        width: int = 64,
        depth: int = 3,
        y_dim: int = 0,
        *,
        rng_key: RngKey,
    ):
        self.shape = as_shape(shape)
        check_whole("width", width)
        check_whole("depth", depth)
        dim = math.prod(self.shape)
        key_first, key_level, key_last, *keys = jax.random.split(rng_key, 3 + depth)
        self.features = Features(y_dim)
        self.first = eqx.nn.Linear(dim, width, key=key_first)
        self.level = eqx.nn.Linear(self.features.size, depth * width, key=key_level)
        self.blocks = tuple(eqx.nn.Linear(width, width, key=key) for key in keys)
        self.last = near_zero(eqx.nn.Linear(width, dim, key=key_last))

    def __call__(
        self,
        u: Float[Array, "..."],
        level: Float[Array, ""],
        y: Float[Array, " condition"] | None = None,
    ) -> Float[Array, "..."]:
        """Output of `u`'s shape."""
        check_event(u, self.shape)
        shifts = self.level(self.features(level, y)).reshape(len(self.blocks), -1)
        hidden = self.first(u.reshape(-1))
        for block, shift in zip(self.blocks, shifts, strict=True):
            hidden = hidden + block(jax.nn.silu(hidden + shift))
        return self.last(jax.nn.silu(hidden)).reshape(self.shape)
