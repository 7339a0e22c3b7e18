"""Sums of a kernel over pairs of draws, by blocks of draws, in bounded memory.

The matrix of a kernel at 50,000 draws would fill 10 GB. Here a compiled loop makes it a tile at a
time and keeps the sum over each pair of blocks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

TILE = 1024
"""Draws on one side of a tile, about."""

Kernel = Callable[[Any, Any, Any], Float[Array, "a b"]]
"""Rows of some arrays, rows of others, parameters -> the kernel at every pair of rows."""


@partial(jax.jit, static_argnames="kernel")
def _tile_sums(
    kernel: Kernel,
    left: Any,
    right: Any,
    parameters: Any,
    first: Shaped[Array, " tiles"],
    second: Shaped[Array, " tiles"],
) -> Float[Array, "tiles blocks other"]:
    """Sums over pairs of blocks in some tiles; every leaf is `(tile, block, draw, ...)`."""

    def rows(arrays: Any, tile: Array) -> Any:
        return jax.tree.map(lambda a: a[tile].reshape(-1, *a.shape[3:]), arrays)

    def tile(_: None, place: tuple[Array, Array]) -> tuple[None, Array]:
        (a, is_a), (b, is_b) = rows(left, place[0]), rows(right, place[1])
        values = kernel(a, b, parameters)
        values = jnp.where(is_a[:, None] & is_b, values, 0.0)
        shapes = [arrays[1].shape[1:] for arrays in (left, right)]
        return None, values.reshape(*shapes[0], *shapes[1]).sum(axis=(1, 3))

    return jax.lax.scan(tile, None, (first, second))[1]


def _tiled(arrays: Any, is_draw: Bool[np.ndarray, "block draw"]) -> Any:
    """Arrays `(block, draw, ...)` in tiles of about `TILE` draws, with what is a draw."""
    num_blocks, length = is_draw.shape
    per_tile = max(TILE // length, 1)
    num_tiles = -(-num_blocks // per_tile)

    def tiled(a: Any) -> Array:
        padding = [(0, num_tiles * per_tile - num_blocks)] + [(0, 0)] * (a.ndim - 1)
        padded = jnp.pad(jnp.asarray(a), padding)
        return padded.reshape(num_tiles, per_tile, *a.shape[1:])

    return jax.tree.map(tiled, (arrays, is_draw))


def block_sums(
    kernel: Kernel,
    arrays: Any,
    is_draw: Bool[np.ndarray, "block draw"],
    parameters: Any = None,
) -> Float[np.ndarray, "block block"]:
    """Sums of a symmetric kernel over all pairs of draws in two blocks.

    Parameters
    ----------
    kernel
        A function defined in a module, so that it is compiled once.
    arrays
        Pytree of arrays `(block, draw, ...)`.
    is_draw
        Which places of a block hold a draw.
    parameters
        Arrays that the kernel is called with.

    Examples
    --------
    >>> def product(a, b, _):
    ...     return a @ b.T
    >>> x = np.arange(3.0).reshape(3, 1, 1)
    >>> block_sums(product, x, np.ones((3, 1), bool)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 2.0, 4.0]]
    """
    num_blocks = len(is_draw)
    tiles = _tiled(arrays, is_draw)
    num_tiles, per_tile = tiles[1].shape[:2]
    first, second = np.triu_indices(num_tiles)
    sums = _tile_sums(kernel, tiles, tiles, parameters, jnp.asarray(first), jnp.asarray(second))
    matrix = np.zeros((num_tiles, num_tiles, per_tile, per_tile))
    matrix[first, second] = sums
    matrix[second, first] = np.swapaxes(sums, 1, 2)
    size = num_tiles * per_tile
    return matrix.transpose(0, 2, 1, 3).reshape(size, size)[:num_blocks, :num_blocks]
