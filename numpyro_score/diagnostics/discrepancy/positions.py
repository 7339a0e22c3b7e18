"""Draws as points: unconstrained positions of a target, or some variables side by side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.diagnostics.draws import FlatDraws
from numpyro_score.targets import Target
from numpyro_score.targets.numpyro_model import initialize, unconstrain
from numpyro_score.types import LogDensityFn, ScoreFn

Points = Float[np.ndarray, "chain draw dim"]

BATCH = 1024
"""Points at which a score is computed at once."""


def side_by_side(draws: FlatDraws, variables: Sequence[str], step: int = 1) -> Points:
    """Some variables as one point a draw, raveled and in the given order.

    Parameters
    ----------
    draws
        Of a run.
    variables
        Their names.
    step
        Every `step`-th draw is taken.

    Raises
    ------
    ValueError
        If the posterior lacks one.

    Examples
    --------
    >>> import xarray as xr
    >>> from numpyro_score.diagnostics.draws import flatten
    >>> dims = ("chain", "draw")
    >>> data = xr.Dataset({"a": (dims, np.zeros((2, 5))), "b": ((*dims, "i"), np.ones((2, 5, 3)))})
    >>> draws = flatten(xr.DataTree.from_dict({"posterior": data}))
    >>> side_by_side(draws, ["b", "a"])[0, 0].tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    parts = [draws.values[draws.rows(name), :, ::step] for name in variables]
    return np.moveaxis(np.concatenate(parts), 0, -1)


def sites(target: Target) -> list[str]:
    """Latent sites of a target, in the order of its flat unconstrained position."""
    model = target.model, target.model_args, target.model_kwargs
    # traced and not run: names need no values, and each operation would be compiled for itself
    return sorted(jax.eval_shape(lambda key: initialize(key, *model)[0], jax.random.key(0)))


def unconstrained(draws: FlatDraws, target: Target, step: int = 1) -> Points:
    """Draws of a target's sites as flat unconstrained positions.

    Parameters
    ----------
    draws
        Of a run, with every latent site of the target's model.
    target
        The target.
    step
        Every `step`-th draw is taken.

    Raises
    ------
    ValueError
        If a site is missing.

    Examples
    --------
    >>> from numpyro_score.targets import std_gaussian
    >>> import xarray as xr
    >>> from numpyro_score.diagnostics.draws import flatten
    >>> data = xr.Dataset({"x": (("chain", "draw", "i"), np.ones((2, 5, 3)))})
    >>> unconstrained(flatten(xr.DataTree.from_dict({"posterior": data})), std_gaussian(3)).shape
    (2, 5, 3)
    """
    names = sites(target)
    for name in names:
        draws.rows(name)  # refuses what is missing
    values = {name: jnp.asarray(draws.data[name].values[:, ::step]) for name in names}
    return np.asarray(_unconstrain(target, values), np.float64)


@eqx.filter_jit
def _unconstrain(
    target: Target, values: Mapping[str, Float[Array, "chain draw ..."]]
) -> Float[Array, "chain draw dim"]:
    def one(draw: dict[str, Array]) -> Float[Array, " dim"]:
        position = unconstrain(target.model, target.model_args, target.model_kwargs, draw)
        # sites by name, as in the flat position that the log density takes
        return jnp.concatenate([jnp.ravel(position[name]) for name in sorted(position)])

    return jax.vmap(jax.vmap(one))(dict(values))


@eqx.filter_jit
def _scores(fn: Any, points: Float[Array, "draws dim"]) -> Float[Array, "draws ..."]:
    return jax.vmap(fn)(points)


@eqx.filter_jit
def _gradients(fn: Any, points: Float[Array, "draws dim"]) -> Float[Array, "draws dim"]:
    # differentiated in here: a gradient made outside is compiled anew at every call
    return jax.vmap(jax.grad(fn))(points)


def _in_batches(
    program: Callable[[Any, Array], Array], fn: Any, points: Float[np.ndarray, "draws dim"]
) -> Float[np.ndarray, "draws ..."]:
    """What a program makes of a function at points, compiled once for any number of batches."""
    size = min(BATCH, len(points))
    # the last batch is filled up, for a rest of another length would be another program
    filled = np.pad(points, ((0, -len(points) % size), (0, 0)), mode="edge")
    parts = [program(fn, jnp.asarray(part)) for part in np.split(filled, len(filled) // size)]
    return np.concatenate(parts, dtype=np.float64)[: len(points)]


def scores_at(
    score: ScoreFn, points: Float[np.ndarray, "draws dim"]
) -> Float[np.ndarray, "draws dim"]:
    """Scores at points.

    Parameters
    ----------
    score
        Point `(dim,)` -> gradient of the log density there `(dim,)`.
    points
        Where.

    Raises
    ------
    ValueError
        If a score is not finite, or of another shape than a point.

    Examples
    --------
    >>> scores_at(lambda x: -x, np.ones((5, 2))).shape
    (5, 2)
    """
    return _checked(_in_batches(_scores, score, points), points)


def gradients_at(
    logdensity_fn: LogDensityFn, points: Float[np.ndarray, "draws dim"]
) -> Float[np.ndarray, "draws dim"]:
    """Gradients of a log density at points.

    Parameters
    ----------
    logdensity_fn
        Point `(dim,)` -> log density.
    points
        Where.

    Raises
    ------
    ValueError
        If a gradient is not finite, or the density does not take such points.

    Examples
    --------
    >>> gradients_at(lambda x: -0.5 * jnp.sum(x**2), np.ones((5, 2)))[0].tolist()
    [-1.0, -1.0]
    """
    point = jax.ShapeDtypeStruct(points.shape[1:], jnp.result_type(float))
    try:
        shape = jax.eval_shape(logdensity_fn, point).shape
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the log density does not take a draw of {points.shape[1]} numbers: {error}; name the "
            "variables that it is of, in its order (variables=)"
        ) from error
    if shape != ():
        raise ValueError(f"the log density of a point must be one number, got shape {shape}")
    return _checked(_in_batches(_gradients, logdensity_fn, points), points)


def _checked(
    scores: Float[np.ndarray, "draws ..."], points: Float[np.ndarray, "draws dim"]
) -> Float[np.ndarray, "draws dim"]:
    if scores.shape != points.shape:
        raise ValueError(
            f"the score of a point {points.shape[1:]} has shape {scores.shape[1:]}; it has to be "
            "the gradient of the log density at one point, of the point's shape"
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"the score is not finite at {int((~np.isfinite(scores)).any(axis=1).sum())} of "
            f"{len(points)} draws; are the draws in the coordinates that the density takes?"
        )
    return scores
