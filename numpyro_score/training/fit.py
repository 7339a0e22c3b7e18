"""Fitting a model to data: one call from draws to a trained score or energy."""

import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from numpyro_score.checks import check_whole
from numpyro_score.progress import Bar, ProgressCallback
from numpyro_score.scores.base import trainable
from numpyro_score.training import optimizer as defaults
from numpyro_score.training.checkpoint import Checkpoint, identity
from numpyro_score.training.data import as_points
from numpyro_score.training.job import TrainingJob, TrainState
from numpyro_score.training.loop import NOT_FINITE, train
from numpyro_score.training.losses.base import Loss, StatefulLoss
from numpyro_score.training.prepare import as_auto, interval_of, split
from numpyro_score.training.program import run, start
from numpyro_score.types import RngKey


class FitResult(NamedTuple):
    """A trained model and how it came about.

    Attributes
    ----------
    model
        Like the one that was given, with trained parameters: their running average, unless
        `ema=None`; those of the best row of the history if there was patience.
    history
        Dimension `step`, the steps made at each row: `train_loss`, the mean since the row before,
        and `held_out_loss`. The attributes tell why training ended (`stopped`), where
        (`num_steps`), how long it took (`seconds`, compiling included) and from which variables
        the points were joined (`variables`).

    Examples
    --------
    >>> import equinox as eqx, jax
    >>> from numpyro_score.training.losses import implicit_score_matching
    >>> draws = jax.random.normal(jax.random.key(0), (100, 1))
    >>> result = fit(
    ...     eqx.nn.Linear(1, 1, key=jax.random.key(1)),
    ...     draws,
    ...     implicit_score_matching,
    ...     rng_key=jax.random.key(2),
    ...     num_steps=20,
    ...     progress=False,
    ... )
    >>> result.model.weight.shape, sorted(result.history)
    ((1, 1), ['held_out_loss', 'train_loss'])
    """

    model: Any
    history: xr.Dataset


def _check_settings(
    num_steps: int, ema: float | None, validation_fraction: float, patience: int | None
) -> None:
    check_whole("num_steps", num_steps)
    if ema is not None and not 0 <= ema < 1:
        raise ValueError(f"ema is {ema} but must lie in [0, 1), or be None for no average")
    if not 0 <= validation_fraction < 1:
        raise ValueError(
            f"validation_fraction is {validation_fraction} but must lie in [0, 1); 0 holds no data "
            "out"
        )
    if patience is not None:
        check_whole("patience", patience)
        if validation_fraction == 0:
            raise ValueError("patience needs a held-out loss: give a validation_fraction above 0")


def _check_parts(model: Any, loss: Any, optimizer: Any) -> tuple[Any, Any]:
    """The model's parameters and what else it is, checked, as are the loss and the optimizer."""
    if not (callable(loss) or isinstance(loss, StatefulLoss)):
        raise TypeError(
            f"the loss is a {type(loss).__name__}; give a function (model, batch, rng_key) or one "
            "of numpyro_score.training.losses"
        )
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(
            f"the optimizer is a {type(optimizer).__name__}; give one of optax, such as "
            "optax.adam(1e-3)"
        )
    params, static = eqx.partition(model, trainable(model))
    if not jax.tree.leaves(params):
        raise TypeError(
            f"the model, a {type(model).__name__}, has no JAX arrays of real numbers to train; "
            "give an Equinox module, or jax.tree_util.Partial(apply, params) for a model of "
            "another library"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not np.isfinite(np.asarray(leaf)).all():
            raise ValueError(
                f"the model's parameter {jax.tree_util.keystr(path)} is not finite before training"
            )
    return params, static


def _history(job: TrainingJob, state: TrainState) -> xr.Dataset:
    """The rows so far, and the step of the best one."""
    rows, interval, num_steps = int(state.num_rows), int(job.interval), int(job.num_steps)
    steps = np.minimum((np.arange(rows) + 1) * interval, num_steps)
    losses = {"train_loss": ("step", np.asarray(state.train_loss)[:rows])}
    if job.held_out is not None:
        losses["held_out_loss"] = ("step", np.asarray(state.held_out_loss)[:rows])
    history = xr.Dataset(losses, coords={"step": steps})
    if state.best is not None and rows:
        history.attrs["best_step"] = int(steps[int(state.best_row)])
    return history


def fit(
    model: Any,
    data: Any,
    loss: Loss | StatefulLoss,
    *,
    rng_key: RngKey,
    num_steps: int = 3000,
    batch_size: int | None = None,
    optimizer: optax.GradientTransformation | None = None,
    ema: float | None = 0.995,
    validation_fraction: float = 0.1,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    mesh: Mesh | None = None,
    progress: bool | ProgressCallback = True,
) -> FitResult:
    """Fit a score, a denoiser or an energy to data.

    Batches are drawn with replacement. Steps run many to a dispatch; a second fit with the same
    shapes, loss and optimizer (the same objects, where they are functions) compiles nothing again.

    Parameters
    ----------
    model
        A callable pytree whose JAX arrays of real numbers are trained: an Equinox module, or
        `jax.tree_util.Partial(apply, params)` for a model of another library.
    data
        An array `(num, *event)`, a pair of points and conditions, a dict of draws, a DataTree (its
        posterior) or a fitted numpyro `MCMC`; see `numpyro_score.training.data.as_points`.
    loss
        `(model, batch, rng_key) -> scalar`, or a `StatefulLoss`.
    rng_key
        For all that is random.
    num_steps
        Steps of the optimizer.
    batch_size
        Points per step; by default 512, or all if there are fewer.
    optimizer
        One of optax. By default `cosine_adam()`: Adam, clipped, its rate falling to 0.
    ema
        Decay of the running average of the parameters, which is returned; None for no average.
    validation_fraction
        Share of the data on which the held-out loss is computed, up to a hundred times.
    patience
        Rows of the history without a better held-out loss after which training stops; the
        parameters of the best row are returned. None trains to the end.
    checkpoint
        A folder from which an interrupted training continues, to bitwise the same result, when
        `fit` is called again.
    mesh
        Devices that share each batch; data and parameters are copied to all of them.
    progress
        Whether to show a progress bar, or a `ProgressCallback` `(phase, done, total)`, which is
        called about twice a second.

    Returns
    -------
    The trained model, and the history. An interrupt (Ctrl-C) ends training early, not in an error.

    Raises
    ------
    ValueError
        If data are empty or not finite, fewer than a batch, or do not fit the model; if a setting
        cannot be one; if the checkpoint's folder holds another training.
    TypeError
        If there is nothing to train, or the loss wants another kind of model.

    Warns
    -----
    UserWarning
        If the loss or the parameters became not finite: training stops with the last good
        parameters, and the message says at which step.

    Examples
    --------
    A linear score, fitted to draws of a Gaussian by implicit score matching:

    >>> import equinox as eqx, jax
    >>> from numpyro_score.training.losses import implicit_score_matching
    >>> from numpyro_score.training.optimizer import cosine_adam
    >>> draws = 1.0 + 0.5 * jax.random.normal(jax.random.key(0), (2000, 1))
    >>> model = eqx.nn.Linear(1, 1, key=jax.random.key(1))
    >>> model, history = fit(
    ...     model,
    ...     draws,
    ...     implicit_score_matching,
    ...     rng_key=jax.random.key(2),
    ...     num_steps=2000,
    ...     optimizer=cosine_adam(0.05),
    ...     progress=False,
    ... )
    >>> round(float(model.weight[0, 0]))  # -1 / 0.5^2
    -4
    >>> history.attrs["stopped"]
    'finished'
    """
    began = time.perf_counter()
    _check_settings(num_steps, ema, validation_fraction, patience)
    optimizer = defaults.DEFAULT if optimizer is None else optimizer
    params, static = _check_parts(model, loss, optimizer)
    points = as_points(data)
    train_data, held_out, batch_size = split(points, validation_fraction, batch_size, rng_key)
    interval = interval_of(num_steps, held_out, batch_size)
    mesh = None if mesh is None else as_auto(mesh, batch_size)
    where = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    params, train_data, held_out, rng_key = jax.device_put(
        (params, train_data, held_out, rng_key), where
    )
    job = TrainingJob(
        static=static,
        loss=loss,
        optimizer=optimizer,
        data=train_data,
        held_out=held_out,
        rng_key=rng_key,
        num_steps=jnp.asarray(num_steps, jnp.int32),
        interval=jnp.asarray(interval, jnp.int32),
        decay=None if ema is None else jnp.asarray(ema, float),
        patience=None if patience is None else jnp.asarray(patience, jnp.int32),
        batch_size=batch_size,
        mesh=mesh,
    )
    # a model that does not suit the loss is found out by tracing, before anything is compiled
    run.shapes(job, start.shapes(job, params), job.num_steps)
    keeper = nullcontext() if checkpoint is None else Checkpoint(checkpoint, identity(job, params))
    with Bar(num_steps, progress=progress) as bar, keeper as saved:
        # where an earlier run's would be put, so that one program serves both
        state = jax.device_put(start(job, params), where)
        if saved is not None:
            state = saved.restore(state, mesh)
        state, stopped = train(job, state, bar, saved)
    if stopped == NOT_FINITE:
        warnings.warn(
            f"training stopped: step {int(state.step) + 1} made the loss or a parameter not "
            f"finite. The model has the parameters after {int(state.step)} steps. A smaller "
            "learning rate may help (optimizer=cosine_adam(1e-4)), or float64.",
            stacklevel=2,
        )
    history = _history(job, state)
    history.attrs |= {
        "stopped": stopped,
        "num_steps": int(state.step),
        "batch_size": batch_size,
        "variables": list(points.variables),
        "seconds": time.perf_counter() - began,
    }
    return FitResult(eqx.combine(state.result, static), history)
