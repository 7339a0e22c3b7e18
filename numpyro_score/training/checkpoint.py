"""A training on disk, from which a killed one goes on: two folders that Orbax keeps in turn.

Orbax writes beside the last checkpoint and renames when all is there, so that a kill at any moment
leaves one that is whole. What the training is (data, key, lengths, shapes, versions) is written
with it, so that another training's folder is not taken for it.
"""

import hashlib
import time
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from numpyro_score.extras import extra
from numpyro_score.training.job import TrainingJob, TrainState

SAVE_SECONDS = 20.0
"""Between two checkpoints, at least."""

PACKAGES = ("numpyro-score", "jax", "jaxlib", "optax")
"""Packages whose version can change the parameters."""


def _digest(tree: Any) -> str:
    """Short hash of the values of all arrays."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _name(thing: Any) -> str:
    """What an object is called, without where it lies in memory."""
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return f"{getattr(thing, '__module__', '')}.{name}"


def identity(job: TrainingJob, params: Any) -> dict[str, Any]:
    """What makes a training the one that it is, as words and numbers.

    Parameters
    ----------
    job
        The training.
    params
        With which it starts.
    """
    plain = [x for x in jax.tree.leaves(job.loss) if isinstance(x, bool | int | float | str)]
    state = jax.eval_shape(job.optimizer.init, params)
    shapes = [f"{x.dtype}{list(x.shape)}" for x in jax.tree.leaves(state)]
    return {
        "loss": f"{_name(job.loss)}{plain}",
        "first parameters": _digest(params),
        "state of the optimizer": hashlib.sha256(" ".join(shapes).encode()).hexdigest()[:16],
        "data": _digest((job.data, job.held_out)),
        "rng_key": _digest(job.rng_key),
        "num_steps": int(job.num_steps),
        "batch_size": job.batch_size,
        "ema": None if job.decay is None else float(job.decay),
        "patience": None if job.patience is None else int(job.patience),
        "float64": bool(jax.config.jax_enable_x64),
        **{f"version of {name}": version(name) for name in PACKAGES},
    }


class Checkpoint:
    """A folder of checkpoints.

    Parameters
    ----------
    folder
        Where, made if it is not there.
    who
        The training's `identity`.

    Raises
    ------
    ValueError
        If the folder is a file.
    """

    def __init__(self, folder: str | Path, who: dict[str, Any]) -> None:
        # it takes more than a second to import, and most trainings need none of it
        with extra("checkpoints", "orbax", "checkpoint= needs"):
            import orbax.checkpoint as ocp

        path = Path(folder).absolute()
        if path.exists() and not path.is_dir():
            raise ValueError(f"checkpoint={path} is a file; give a folder, or a new name for one")
        self._path = path
        self._who = who
        self._args = ocp.args
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(path, options=options)
        self._saved_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.close()

    def restore(self, state: TrainState, mesh: Mesh | None) -> TrainState:
        """The state that an earlier run has left, or else `state`.

        Parameters
        ----------
        state
            Of the start, which says how it is put together.
        mesh
            Devices to copy it to, or None.

        Raises
        ------
        ValueError
            If the folder holds another training.
        """
        step = self._manager.latest_step()
        if step is None:
            return state
        args = self._args.Composite(who=self._args.JsonRestore())
        found = self._manager.restore(step, args=args).who
        differing = [name for name in self._who if found.get(name) != self._who[name]]
        if differing:
            details = "; ".join(
                f"{k}: {found.get(k)} there, {self._who[k]} here" for k in differing
            )
            raise ValueError(
                f"the folder {self._path} holds another training ({details}); give another folder, "
                "or remove this one to begin again"
            )
        leaves, structure = jax.tree.flatten(state)
        args = self._args.Composite(state=self._args.StandardRestore(_named(leaves)))
        values = self._manager.restore(step, args=args).state
        # as the state of the start came: on any device, or on all of the mesh
        arrays = [np.asarray(values[name]) for name in _named(leaves)]
        if mesh is not None:
            placed = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec()))
        else:
            placed = [jnp.asarray(array) for array in arrays]
        return jax.tree.unflatten(structure, placed)

    def save(self, state: TrainState, *, is_last: bool = False) -> None:
        """Write a state, unless the last one is recent.

        Parameters
        ----------
        state
            To go on from.
        is_last
            Whether to write it in any case.
        """
        is_due = time.monotonic() - self._saved_at >= SAVE_SECONDS
        step = int(state.step)
        if not (is_due or is_last) or step in self._manager.all_steps():
            return
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        self._manager.save(
            step,
            args=self._args.Composite(
                state=self._args.StandardSave(_named(leaves)), who=self._args.JsonSave(self._who)
            ),
            force=True,
        )
        self._saved_at = time.monotonic()


def _named(leaves: list[Any]) -> dict[str, Any]:
    return {f"{i:05d}": leaf for i, leaf in enumerate(leaves)}
