"""Arguments of `sample`, checked before anything is traced or compiled."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from numpyro_score.checks import check_whole


def check_lengths(
    num_warmup: int | None, num_samples: int | None, thinning: int
) -> tuple[int, int]:
    """Check the lengths of a run.

    Returns
    -------
    Steps of warmup, and of sampling.

    Raises
    ------
    TypeError, ValueError
        If one is missing, or not a whole number, or too small, or thinning keeps no draw.
    """
    if num_warmup is None or num_samples is None:
        name = "num_warmup" if num_warmup is None else "num_samples"
        raise TypeError(
            f"{name} is missing: a kernel needs num_warmup, and num_samples or until; a model in "
            "its place needs neither."
        )
    check_whole("num_warmup", num_warmup, 0)
    check_whole("num_samples", num_samples)
    check_whole("thinning", thinning)
    if num_samples < thinning:
        raise ValueError(
            f"thinning={thinning} keeps none of num_samples={num_samples} draws; thin less."
        )
    return int(num_warmup), int(num_samples)


def check_chains(num_chains: int | None, default: int | None) -> int:
    """Check the number of chains.

    Parameters
    ----------
    num_chains
        As it was given.
    default
        What stands for None, if anything does.

    Raises
    ------
    TypeError, ValueError
        If it is missing, or no whole number above 0.
    """
    num_chains = default if num_chains is None else num_chains
    if num_chains is None:
        raise TypeError(
            "num_chains is missing: a kernel needs the number of chains, such as num_chains=16."
        )
    check_whole("num_chains", num_chains)
    return int(num_chains)


def check_model_arguments(model_args: Any, model_kwargs: Any) -> None:
    """Check that the model's arguments are a tuple and a dict.

    Raises
    ------
    TypeError
        If they are something else: the one argument itself, for instance.

    Examples
    --------
    >>> check_model_arguments(jnp.ones(3), None)
    Traceback (most recent call last):
    TypeError: model_args is of type ArrayImpl, but must be a tuple of the model's arguments; write
    model_args=(x,) for one
    """
    if not isinstance(model_args, tuple | list):
        raise TypeError(
            f"model_args is of type {type(model_args).__name__}, but must be a tuple of the "
            "model's arguments; write model_args=(x,) for one"
        )
    if model_kwargs is not None and not isinstance(model_kwargs, Mapping):
        raise TypeError(
            f"model_kwargs is of type {type(model_kwargs).__name__}, but must be a dict of the "
            'model\'s arguments by name, such as {"y": y}'
        )


def check_key(rng_key: Any) -> None:
    """Check that there is one key.

    Raises
    ------
    TypeError
        If it is something else: a seed, for instance.
    ValueError
        If there are several keys.

    Examples
    --------
    >>> check_key(0)
    Traceback (most recent call last):
    TypeError: rng_key is 0, but must be a key of JAX; give jax.random.key(0)
    """
    dtype = getattr(rng_key, "dtype", None)
    is_typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not is_typed and dtype != jnp.uint32:
        seed = rng_key if isinstance(rng_key, int) else 0
        raise TypeError(
            f"rng_key is {rng_key!r}, but must be a key of JAX; give jax.random.key({seed})"
        )
    shape = rng_key.shape if is_typed else rng_key.shape[:-1]
    if shape:
        raise ValueError(
            f"rng_key holds keys of shape {shape}, but must be one key, from which sample makes "
            "one for each chain; give jax.random.key(0), for instance"
        )


def check_starts(init_params: Any, num: int, what: str) -> None:
    """Check that every starting point is there.

    Parameters
    ----------
    init_params
        Starting points, or None.
    num
        How many are needed.
    what
        For what: "chain" or "superchain".

    Raises
    ------
    ValueError
        If an array has another leading axis.
    """
    shapes = jax.tree.map(jnp.shape, init_params)
    if any(jnp.shape(x)[:1] != (num,) for x in jax.tree.leaves(init_params)):
        raise ValueError(
            f"init_params has shapes {shapes}, but each needs a leading axis of {num}, with one "
            f"point for each {what}; jax.tree.map(lambda x: jnp.stack([x] * {num}), point) starts "
            "all of them at one point"
        )
