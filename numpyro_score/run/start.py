"""Where the chains of a run start: a state of all of them, however many fit on a device at once."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.infer.adapter import AdapterKernel
from numpyro_score.run.program import Program, field, runs_batches


def init(program: Program, rng_keys: Any, num_warmup: int, init_params: Any) -> Any:
    """State of all chains, in its place on the devices.

    Parameters
    ----------
    program
        What is to run; its fields are not looked at.
    rng_keys
        A key for each chain.
    num_warmup
        Steps of the warmup.
    init_params
        Starting points with a leading chain axis, or None.

    Raises
    ------
    ValueError
        If the start is missing, misshapen, or not of finite log density and gradient.
    """
    parts = list(_batches(rng_keys, init_params, program.layout.chain_batch_size))
    states = [_init(program, keys, num_warmup, params) for keys, params in parts]
    if len(states) == 1:
        return program.layout.place(states[0])
    if not isinstance(program.kernel, AdapterKernel):
        return program.layout.place(_join(states))
    # the warmup is pooled: it begins from the starting points of all chains
    points = _join([field(state, program.kernel.sample_field) for state in states])
    return program.layout.place(_init(program, rng_keys, num_warmup, points))


def superchains(
    program: Program, rng_keys: Any, num_warmup: int, init_params: Any, num_superchains: int
) -> Any:
    """Starting points that all chains of a superchain share: those of its first chain.

    Nested R-hat compares superchains whose chains start at one point and are independent from there
    on (Margossian et al. 2024, arXiv:2110.13017).

    Parameters
    ----------
    program, rng_keys, num_warmup
        As for `init`.
    init_params
        One point a superchain, or None for the kernel's own.
    num_superchains
        How many; it divides the number of chains.
    """
    size = len(rng_keys) // num_superchains
    if init_params is None:
        first = program._replace(layout=program.layout._replace(mesh=None))
        state = init(first, rng_keys[::size], num_warmup, None)
        init_params = field(state, program.kernel.sample_field)
    return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x), size, axis=0), init_params)


def check_superchains(kernel: MCMCKernel, num_chains: int, num_superchains: int | None) -> None:
    """Refuse what cannot be divided into superchains.

    Raises
    ------
    ValueError
        If they do not divide the chains, or the chains of the kernel interact.
    """
    if num_superchains is None:
        return
    if kernel.is_ensemble_kernel:
        raise ValueError(
            f"num_superchains cannot be used with {type(kernel).__name__}: each of its chains "
            "moves by where the others are, and they must not start at one point; leave it out."
        )
    if not isinstance(num_superchains, int) or num_superchains < 2 or num_chains % num_superchains:
        raise ValueError(
            f"num_superchains is {num_superchains!r}, but must be at least 2 and divide "
            f"num_chains={num_chains}."
        )


def _init(program: Program, rng_keys: Any, num_warmup: int, init_params: Any) -> Any:
    kernel = program.kernel
    args, kwargs = program.constants.args, program.constants.kwargs
    if isinstance(kernel, AdapterKernel):
        return kernel.init(
            rng_keys, num_warmup, init_params, args, kwargs, map_chains=program.layout.map_chains
        )
    if runs_batches(kernel):
        return kernel.init(rng_keys, num_warmup, init_params, args, kwargs)

    def one(rng_key: Any, params: Any) -> Any:
        return kernel.init(rng_key, num_warmup, params, args, kwargs)

    return jax.vmap(one)(rng_keys, init_params)


def _batches(rng_keys: Any, init_params: Any, size: int | None) -> Iterator[tuple[Any, Any]]:
    for begin in range(0, len(rng_keys), size or len(rng_keys)):
        part = slice(begin, begin + size if size else None)
        yield rng_keys[part], jax.tree.map(lambda x, part=part: jnp.asarray(x)[part], init_params)


def _join(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *x: jnp.concatenate(x), *trees)
