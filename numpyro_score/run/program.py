"""The compiled loop: many steps of any NumPyro kernel in one dispatch, constrained in batches.

One program serves every chunk of a run: the number of steps is a traced trip count, so that chunks
of any length, and the next run of the same kernel object on the same data, compile nothing again.
Draws go into buffers that are handed back and forth; what a model constrains or derives from them
is computed once a chunk, batched over draws and chains, outside of the chain's own loop.
"""

from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
from numpyro.infer import HMC
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.infer.adapter import AdapterKernel

BLOCK = 16
"""Draws (of every chain) that are constrained in one batch."""


class Constants:
    """A model's arguments as constants of a program: compared by identity, never traced.

    They are constants, as in `numpyro.infer.MCMC`, because models use their shapes and values in
    plain Python. References are kept, so that an identity is never taken over by another object.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.args = args
        self.kwargs = dict(kwargs)
        leaves, structure = jax.tree.flatten((args, self.kwargs))
        self._leaves = tuple(leaves)
        self._key = (structure, tuple(map(id, leaves)))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constants) and self._key == other._key


class Program(NamedTuple):
    """What is compiled: hashable, so that JAX finds the compiled version again.

    Attributes
    ----------
    kernel
        The NumPyro kernel.
    constants
        The model's arguments.
    fields
        Names of the state's fields to keep, dots for nested ones.
    thinning
        Kernel steps a kept draw.
    is_mapped
        Whether the kernel knows one chain only and is mapped over chains with `jax.vmap`.
    """

    kernel: MCMCKernel
    constants: Constants
    fields: tuple[str, ...]
    thinning: int
    is_mapped: bool


def runs_batches(kernel: MCMCKernel) -> bool:
    """Whether the kernel takes a batch of keys for a batch of chains by itself."""
    return isinstance(kernel, AdapterKernel | HMC) or kernel.is_ensemble_kernel


def init(program: Program, rng_keys: Any, num_warmup: int, init_params: Any) -> Any:
    """State of a batch of chains; `init_params` has a leading chain axis, or is None."""
    args, kwargs = program.constants.args, program.constants.kwargs
    if not program.is_mapped:
        return program.kernel.init(rng_keys, num_warmup, init_params, args, kwargs)

    def one(rng_key: Any, params: Any) -> Any:
        return program.kernel.init(rng_key, num_warmup, params, args, kwargs)

    return jax.vmap(one)(rng_keys, init_params)


def field(state: Any, name: str) -> Any:
    """A field of the state, dots for nested ones."""
    return reduce(getattr, name.split("."), state)


def _step(program: Program, state: Any) -> Any:
    args, kwargs = program.constants.args, program.constants.kwargs
    one = partial(program.kernel.sample, model_args=args, model_kwargs=kwargs)
    return jax.vmap(one)(state) if program.is_mapped else one(state)


def _collect(program: Program, state: Any) -> dict[str, Any]:
    return {name: field(state, name) for name in program.fields}


def _constrain(program: Program) -> Callable[[Any], Any]:
    """Function of draws `(draw, chain, ...)` to the model's sites with the same leading axes."""
    constants = program.constants
    one = program.kernel.postprocess_fn(constants.args, constants.kwargs)
    return jax.vmap(jax.vmap(one))


class Buffers(NamedTuple):
    """Room for the draws of one chunk, leading axes `(row, chain)`.

    Attributes
    ----------
    fields
        Collected fields, the draw in unconstrained coordinates among them.
    constrained
        The draw as the model's sites, deterministic ones included.
    """

    fields: dict[str, Any]
    constrained: Any


def make_buffers(program: Program, state: Any, num_rows: int) -> Buffers:
    """Empty room for `num_rows` draws, rounded up to whole blocks."""
    num_rows = -(-num_rows // BLOCK) * BLOCK
    collected = jax.eval_shape(partial(_collect, program), state)
    rows = jax.tree.map(lambda x: jax.ShapeDtypeStruct((num_rows, *x.shape), x.dtype), collected)
    constrained = jax.eval_shape(_constrain(program), rows[program.kernel.sample_field])
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), Buffers(rows, constrained))


@partial(jax.jit, static_argnames="program", donate_argnames="buffers")
def run_chunk(
    program: Program,
    state: Any,
    buffers: Buffers,
    num_rows: Int[Array, ""],
    num_skipped: Int[Array, ""],
) -> tuple[Any, Buffers]:
    """`num_rows` kept draws from `state`, written to the buffers' first rows.

    Parameters
    ----------
    program
        What to run.
    state
        Of all chains.
    buffers
        Room for at least `num_rows` draws; donated.
    num_rows
        How many draws, 0 for compiling only.
    num_skipped
        Steps by which the first draw comes early, where thinning does not divide the phase.

    Returns
    -------
    The state after them, and the buffers.
    """

    def step(i: Int[Array, ""], carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, fields = carry
        state = _step(program, state)
        # every step writes its row; the last of the `thinning` steps of a row stays
        row = i // program.thinning
        new = _collect(program, state)
        return state, jax.tree.map(lambda room, value: room.at[row].set(value), fields, new)

    num_steps = num_rows * program.thinning
    state, fields = jax.lax.fori_loop(num_skipped, num_steps, step, (state, buffers.fields))
    constrain = _constrain(program)
    draws = fields[program.kernel.sample_field]

    def block(i: Int[Array, ""], constrained: Any) -> Any:
        start = i * BLOCK
        part = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, BLOCK), draws)
        return jax.tree.map(
            lambda room, value: jax.lax.dynamic_update_slice_in_dim(room, value, start, 0),
            constrained,
            constrain(part),
        )

    num_blocks = (num_rows + BLOCK - 1) // BLOCK
    constrained = jax.lax.fori_loop(0, num_blocks, block, buffers.constrained)
    return state, Buffers(fields, constrained)
