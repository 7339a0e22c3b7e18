"""Independent draws in batches: bounded memory, one compilation."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_whole
from numpyro_score.progress import Bar

BATCH_NUMBERS = 2**20
"""Numbers in a batch if the user gives no batch size; a network needs several times that memory."""


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
        Indices `(num,)` -> the draws with these indices, `(num, ...)`.
    shape
        Shape of one point, from which the default batch size follows.
    num_samples, batch_size
        Number of draws, and number of draws at a time.
    progress
        Whether to show a progress bar.

    Raises
    ------
    ValueError, TypeError
        A number is not a whole number of at least 1.
    """
    check_whole("num_samples", num_samples)
    if batch_size is None:
        batch_size = max(1, BATCH_NUMBERS // max(1, int(np.prod(shape))))
    check_whole("batch_size", batch_size)
    size = min(int(batch_size), int(num_samples))
    draws: np.ndarray | None = None
    with Bar(num_samples, progress=progress, phase="sampling", unit="draw") as bar:
        for first in range(0, num_samples, size):
            # the last batch has the same size and is cut: another shape would compile again
            batch = np.asarray(draw(first + jnp.arange(size)))
            kept = min(size, num_samples - first)
            if draws is None:
                draws = np.empty((num_samples, *batch.shape[1:]), batch.dtype)
            draws[first : first + kept] = batch[:kept]
            bar.update(kept)
    assert draws is not None
    return draws
