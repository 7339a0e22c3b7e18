"""A run of a third-party algorithm as a tree, like those that `sample` returns."""

import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from arviz_base import from_dict
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.comparison.external.protocol import Drawn, ExternalSampler, Reference, Task
from numpyro_score.comparison.result import Settings
from numpyro_score.run.zarr_group import ZARR_FORMAT
from numpyro_score.targets import Target
from numpyro_score.targets.numpyro_model import initialize
from numpyro_score.targets.prior import prior_proposal
from numpyro_score.types import RngKey

WIDTH = 10.0
"""Standard deviation of the Gaussian that a density without a prior is annealed from."""

BATCH = 1024
"""Draws whose sites are computed at once."""


def _reference(target: Target) -> Reference:
    """The prior of the target's model; a wide Gaussian where it has none that can be drawn."""
    dim = target.dim

    def gaussian(x: Float[Array, " dim"]) -> Float[Array, ""]:
        return -0.5 * jnp.sum((x / WIDTH) ** 2) - dim * jnp.log(WIDTH) - dim * 0.919

    try:
        draw, log_prob = prior_proposal(target.model, target.model_args, target.model_kwargs)
        example, _ = draw(jax.random.key(0))
    except ValueError:
        return Reference(lambda key: WIDTH * jax.random.normal(key, (dim,)), gaussian)
    unravel = ravel_pytree(example)[1]
    return Reference(lambda key: ravel_pytree(draw(key)[0])[0], lambda x: log_prob(unravel(x)))


def run_external(
    sampler: ExternalSampler,
    name: str,
    target: Target,
    rng_key: RngKey,
    settings: Settings,
    store: Path | None,
) -> xr.DataTree:
    """Run a third-party algorithm on a target.

    Parameters
    ----------
    sampler, name
        The algorithm.
    target
        What it samples.
    rng_key
        One key.
    settings
        Lengths, and budget.
    store
        Zarr folder that the run is written to at its end, or None.

    Raises
    ------
    ValueError
        If what it returns does not have the right shapes.
    """
    start_key, draw_key = jax.random.split(rng_key)
    args, kwargs = target.model_args, target.model_kwargs
    keys = jax.random.split(start_key, settings.num_chains)
    position, functions, _ = initialize(keys, target.model, args, kwargs)
    unravel = ravel_pytree(jax.tree.map(lambda x: x[0], position))[1]
    task = Task(
        logdensity_fn=target.logdensity_fn,
        positions=jax.vmap(lambda one: ravel_pytree(one)[0])(position),
        reference=_reference(target),
        rng_key=draw_key,
        num_warmup=settings.num_warmup,
        num_samples=settings.num_samples,
        budget=settings.budget,
    )
    drawn = sampler.draw(task)
    _check(drawn, target.dim, name)
    postprocess = functions.postprocess_fn(args, kwargs)
    flat = drawn.positions.reshape(-1, target.dim)
    sites = jax.jit(
        lambda points: jax.lax.map(lambda x: postprocess(unravel(x)), points, batch_size=BATCH)
    )(flat)
    shape = drawn.positions.shape[:2]
    posterior = jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[1:]), sites)
    tree = from_dict(
        {
            "posterior": posterior,
            "sample_stats": {
                "num_grad": np.asarray(drawn.num_grad),
                "num_logdensity": np.asarray(drawn.num_logdensity),
            },
        }
    )
    return _kept(tree, _attributes(sampler, name, drawn, settings), store)


def _check(drawn: Drawn, dim: int, name: str) -> None:
    shape = np.shape(drawn.positions)
    counts = np.shape(drawn.num_grad), np.shape(drawn.num_logdensity)
    if len(shape) != 3 or shape[2] != dim or any(one != shape[:2] for one in counts):
        raise ValueError(
            f"the algorithm {name!r} returned draws of shape {shape} with counts of shapes "
            f"{counts[0]} and {counts[1]}, but they must be (chain, draw, {dim}) and (chain, draw)"
        )


def _attributes(
    sampler: ExternalSampler, name: str, drawn: Drawn, settings: Settings
) -> dict[str, Any]:
    spent = drawn.spent
    return {
        "sampler": name,
        "exact": int(sampler.is_exact),
        "complete": 1,
        **({"independent_draws": 1} if sampler.is_independent else {}),
        **({} if settings.budget is None else {"budget": str(settings.budget)}),
        # it has no warmup whose draws could be shown: all that it spent before is set-up
        "num_warmup": 0,
        "num_chains": drawn.positions.shape[0],
        "thinning": 1,
        "num_grad_training": spent.num_grad_warmup + spent.num_grad_training,
        "seconds_training": spent.seconds_training + spent.seconds_warmup,
        "seconds_compile": spent.seconds_compile,
        "seconds_warmup": 0.0,
        "seconds_sampling": spent.seconds_sampling,
    }


def _kept(tree: xr.DataTree, attrs: dict[str, Any], store: Path | None) -> xr.DataTree:
    tree.attrs.update(attrs)
    if store is None:
        return tree
    new = store.with_name(f".new{store.name}")
    shutil.rmtree(new, ignore_errors=True)
    tree.to_zarr(new, zarr_format=ZARR_FORMAT)
    shutil.rmtree(store, ignore_errors=True)
    os.replace(new, store)
    return tree
