"""What makes a run the run that it is, so that another run's store is not taken for it."""

import inspect
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.fingerprint import PLAIN, describe, fingerprint, name_of
from numpyro_score.run.probes import PROBES, differing_probes, probe
from numpyro_score.run.program import Program

FORMAT = 3
"""Version of what is recorded here. A store that records less cannot be resumed."""

PACKAGES = ("numpyro-score", "numpyro", "blackjax", "jax", "jaxlib")
"""Packages whose version can change the draws."""

DENSITY = frozenset({"model", "potential_fn", "logdensity_fn"})
"""Arguments of a kernel that are known by the values of the density that they define."""


def settings(kernel: MCMCKernel) -> dict[str, Any]:
    """What a kernel was given besides the target: plain values, fingerprints of all else.

    A kernel of this package lists it. Of another one it is what its constructor takes, where the
    kernel keeps it under the same name, and every plain value that it holds.

    Parameters
    ----------
    kernel
        Any NumPyro kernel.
    """
    given = getattr(kernel, "settings", None)
    if given is None:
        known = {name.lstrip("_"): value for name, value in vars(kernel).items()}
        given = {
            name: value
            for name, value in known.items()
            if name in _parameters(type(kernel)) - DENSITY or isinstance(value, PLAIN)
        }
        blocks = getattr(kernel, "_kernels", ())
        given |= {f"block {i}": str(settings(block)) for i, block in enumerate(blocks)}
    return {name: describe(value) for name, value in sorted(given.items())}


def kernel_in_words(kernel: MCMCKernel) -> str:
    """A kernel's class with its settings.

    Parameters
    ----------
    kernel
        Any NumPyro kernel.
    """
    words = ", ".join(f"{name}={value!r}" for name, value in settings(kernel).items())
    return f"{type(kernel).__name__}({words})"


def _parameters(kind: type) -> set[str]:
    """Names of all arguments of a class and of its bases."""
    constructors = [vars(base).get("__init__") for base in kind.__mro__]
    return {
        name
        for fn in constructors
        if inspect.isfunction(fn)
        for name in inspect.signature(fn).parameters
    }


def identity(
    program: Program,
    state: Any,
    rng_key: Any,
    num_steps: Mapping[str, int],
    init_params: Any,
    num_superchains: int | None,
    *,
    keep_warmup: bool,
    log_likelihood: bool,
) -> dict[str, Any]:
    """All that the draws, and the arrays that hold them, depend on, as words and numbers.

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
    keep_warmup, log_likelihood
        What is stored: a run that went on with other groups would leave a part of them empty.
    """
    kernel = program.kernel
    typed = jax.dtypes.issubdtype(rng_key.dtype, jax.dtypes.prng_key)
    shapes = [f"{x.dtype}{list(x.shape)}" for x in jax.tree.leaves(state)]
    return {
        "format": FORMAT,
        "kernel": kernel_in_words(kernel),
        "model": name_of(getattr(kernel, "model", None)),
        "arguments of the model": program.constants.fingerprint,
        PROBES: probe(program, state, init_params),
        "init_params": fingerprint(jax.tree.map(np.asarray, init_params)),
        "rng_key": np.asarray(jax.random.key_data(rng_key) if typed else rng_key).tolist(),
        **{f"steps of {phase}": steps for phase, steps in num_steps.items()},
        "chains": program.layout.num_chains,
        "superchains": num_superchains,
        "chain_batch_size": program.layout.chain_batch_size,
        "devices": program.layout.num_devices,
        "processes": jax.process_count(),
        "thinning": program.thinning,
        "fields": list(program.fields),
        "keep_warmup": keep_warmup,
        "log_likelihood": log_likelihood,
        "shapes of the state": fingerprint(shapes),
        "float64": bool(jax.config.jax_enable_x64),
        **{f"version of {name}": version(name) for name in PACKAGES},
    }


def differences(known: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What distinguishes two runs, in words; empty for the same run.

    Parameters
    ----------
    known
        The identity in a store.
    new
        That of the run which is to go on with it.
    """
    if known.get("format") != new["format"]:
        return [
            "it was written by another version of numpyro_score, which recorded other things of "
            "the run; its draws can be read, but it cannot be resumed"
        ]
    exact = [name for name in {**known, **new} if name != PROBES]
    return [
        *(
            f"{name} was {known.get(name)!r} and is {new.get(name)!r}"
            for name in exact
            if known.get(name) != new.get(name)
        ),
        *differing_probes(known[PROBES], new[PROBES]),
    ]
