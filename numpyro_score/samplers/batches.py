"""Independent draws to the host, some at a time: bounded memory, one compilation."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_whole
from numpyro_score.progress import Bar

BATCH_NUMBERS = 2**20
"""Coordinates in a batch where the user gives no size; a network takes several times that."""


def draw_in_batches(
    draw: Callable[[Int[Array, " num"]], Array],
    shape: Sequence[int],
    num_samples: int,
    batch_size: int | None,
    *,
    progress: bool,
) -> Float[np.ndarray, "{num_samples} ..."]:
    """Draws 0 to `num_samples - 1`.

    Parameters
    ----------
    draw
        Indices `(num,)` -> the draws of these indices `(num, ...)`, whatever they are drawn with.
    shape
        Shape of one point, by which batches are sized where no size is given.
    num_samples, batch_size
        How many, and how many at a time.
    progress
        Whether to show a bar.

    Raises
    ------
    ValueError, TypeError
        If a number is not a whole one above 0.
    """
    check_whole("num_samples", num_samples)
    if batch_size is None:
        batch_size = max(1, BATCH_NUMBERS // max(1, int(np.prod(shape))))
    check_whole("batch_size", batch_size)
    size = min(int(batch_size), int(num_samples))
    draws: np.ndarray | None = None
    with Bar(num_samples, progress=progress, phase="sampling", unit="draw") as bar:
        for first in range(0, num_samples, size):
            # the last batch runs past the end: another shape would be compiled anew
            batch = np.asarray(draw(first + jnp.arange(size)))
            kept = min(size, num_samples - first)
            if draws is None:
                draws = np.empty((num_samples, *batch.shape[1:]), batch.dtype)
            draws[first : first + kept] = batch[:kept]
            bar.update(kept)
    assert draws is not None
    return draws
