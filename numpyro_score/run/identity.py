"""What makes a run the run that it is, so that another run's store is not taken for it."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.run.program import Program

PACKAGES = ("numpyro-score", "numpyro", "blackjax", "jax", "jaxlib")
"""Packages whose version can change the draws."""


def _name(fn: Any) -> str:
    """Where a function is defined; its type for what has no name."""
    name = getattr(fn, "__qualname__", type(fn).__qualname__)
    return f"{getattr(fn, '__module__', '')}.{name}"


def _digest(leaves: list[Any]) -> str:
    """Short hash of the values of arrays, numbers and strings."""
    digest = hashlib.sha256()
    for leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes() if array.dtype != object else repr(leaf).encode())
    return digest.hexdigest()[:16]


def _settings(kernel: MCMCKernel) -> str:
    """Settings of a kernel that are plain numbers and words, for a reader to compare."""
    plain = (bool, int, float, str, type(None))
    settings = getattr(kernel, "settings", None)
    if settings is None:
        given = vars(kernel).items()
        settings = {name.lstrip("_"): value for name, value in given if isinstance(value, plain)}
    return ", ".join(f"{name}={value!r}" for name, value in sorted(settings.items()))


def identity(
    program: Program,
    state: Any,
    rng_key: Any,
    num_steps: Mapping[str, int],
    init_params: Any,
    num_superchains: int | None,
) -> dict[str, Any]:
    """Kernel, model, data, key, lengths, shapes and versions, as words and numbers.

    Parameters
    ----------
    program
        What runs.
    state
        Its state, for the shapes.
    rng_key
        The run's key.
    num_steps
        Phase -> steps.
    init_params
        Starting points, or None.
    num_superchains
        Groups of chains that start at one point, or None.
    """
    kernel = program.kernel
    data_key = (
        jax.random.key_data(rng_key)
        if jax.dtypes.issubdtype(rng_key.dtype, jax.dtypes.prng_key)
        else rng_key
    )
    shapes = [f"{x.dtype}{list(x.shape)}" for x in jax.tree.leaves(state)]
    return {
        "kernel": f"{type(kernel).__name__}({_settings(kernel)})",
        "model": _name(getattr(kernel, "model", None)),
        "data": _digest(jax.tree.leaves((program.constants.args, program.constants.kwargs))),
        "init_params": _digest(jax.tree.leaves(init_params)),
        "rng_key": np.asarray(data_key).tolist(),
        **{f"steps of {phase}": steps for phase, steps in num_steps.items()},
        "chains": program.layout.num_chains,
        "superchains": num_superchains,
        "chain_batch_size": program.layout.chain_batch_size,
        "devices": program.layout.num_devices,
        "processes": jax.process_count(),
        "thinning": program.thinning,
        "fields": list(program.fields),
        "shapes of the state": _digest(shapes),
        "float64": bool(jax.config.jax_enable_x64),
        **{f"version of {name}": version(name) for name in PACKAGES},
    }
