"""Before a training: which points are held out, how often to look, which devices share a batch."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from numpyro_score.checks import check_whole
from numpyro_score.training.data import Points
from numpyro_score.training.job import ROWS

BATCH_SIZE = 512
"""Points a step, if there are as many."""

EVALUATION_SHARE = 0.1
"""Share of the training's cost that the held-out loss may have, about."""


def split(
    points: Points, fraction: float, batch_size: int | None, rng_key: Any
) -> tuple[Any, Any, int]:
    """Training points, held-out batches or None, and the size of a batch."""
    num_held_out = min(round(points.num * fraction), points.num - 1)
    num_train = points.num - num_held_out
    if batch_size is None:
        batch_size = min(BATCH_SIZE, num_train)
    check_whole("batch_size", batch_size)
    if batch_size > num_train:
        held_out = f", {num_held_out} more being held out" if num_held_out else ""
        raise ValueError(
            f"batch_size is {batch_size} but there are only {num_train} points to train "
            f"on{held_out}; give a smaller batch_size"
        )
    if fraction > 0 and num_held_out == 0:
        raise ValueError(
            f"of {points.num} points a fraction of {fraction:g} is none to hold out; give more "
            "data, or validation_fraction=0"
        )
    if num_held_out == 0:
        return points.arrays, None, batch_size
    # whole batches, so that their mean is the mean over the points
    size = min(batch_size, num_held_out)
    num_batches = num_held_out // size
    rng = np.random.default_rng(np.asarray(jax.random.key_data(rng_key)).tolist())
    order = rng.permutation(points.num)
    places, train = order[: num_batches * size], order[num_held_out:]

    def batches(leaf: Any) -> Any:
        return leaf[places].reshape(num_batches, size, *leaf.shape[1:])

    return (
        jax.tree.map(lambda leaf: leaf[train], points.arrays),
        jax.tree.map(batches, points.arrays),
        batch_size,
    )


def interval_of(num_steps: int, held_out: Any, batch_size: int) -> int:
    """Steps between two rows of the history."""
    every = -(-num_steps // ROWS)
    if held_out is None:
        return every
    num_batches, size = jax.tree.leaves(held_out)[0].shape[:2]
    # a step is a forward and a backward pass, the latter twice the cost of the former
    cost_of_look = num_batches * size / (3 * batch_size)
    return min(max(every, int(cost_of_look / EVALUATION_SHARE)), num_steps)


def as_auto(mesh: Mesh, batch_size: int) -> Mesh:
    """The mesh with axes over which the compiler spreads the work by itself."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh is a {type(mesh).__name__}; give a jax.sharding.Mesh")
    if batch_size % mesh.size:
        raise ValueError(
            f"a batch of {batch_size} points cannot be shared evenly by the {mesh.size} devices of "
            f"the mesh; give a batch_size that is a multiple of {mesh.size}"
        )
    auto = (AxisType.Auto,) * len(mesh.axis_names)
    return Mesh(mesh.devices, mesh.axis_names, axis_types=auto)
