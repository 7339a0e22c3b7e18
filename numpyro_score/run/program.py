"""The compiled loop: many steps of any NumPyro kernel in one dispatch, constrained in batches.

One program serves every chunk of a run: the number of steps is a traced trip count, so that chunks
of any length, and the next run of the same kernel object on the same data, compile nothing again.
Draws go into buffers that are handed back and forth; what a model constrains or derives from them
is computed once a chunk, batched over draws and chains, outside of the chain's own loop.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int
from numpyro.infer import HMC
from numpyro.infer.mcmc import MCMCKernel
from numpyro.util import identity

from numpyro_score.compilation import compiled_loop
from numpyro_score.constants import Constants
from numpyro_score.run.layout import Layout
from numpyro_score.run.protocol import BatchedKernel
from numpyro_score.run.tree import SAMPLING

CONSTRAINED = 16
"""Draws (of every chain) that are constrained in one batch, at most."""

MAX_BLOCK = 32
"""Draws that an accelerator makes on its own, at most."""

STATISTICS = (
    "potential_energy",
    "accept_prob",
    "diverging",
    "num_steps",
    "energy",
    "num_grad",
    "num_logdensity",
    "adapt_state.step_size",
)
"""Fields that are kept where a kernel's state has them."""

SUMMED = frozenset({"num_grad", "num_logdensity"})
"""Fields of which a kept draw holds the sum over the steps since the last one: what it cost."""


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
    layout
        How the chains lie on devices.
    block
        Kept draws in a loop of known length, of which the number of draws is a multiple; None for
        one loop of a length that is known when it runs.
    is_frozen
        Whether the warmup is over.
    """

    kernel: MCMCKernel
    constants: Constants
    fields: tuple[str, ...]
    thinning: int
    layout: Layout
    block: int | None = None
    is_frozen: bool = False

    def bound(self, arrays: Any) -> "Program":
        """The program with arrays among the model's arguments, where they are not compiled in."""
        return self._replace(constants=self.constants.bound(arrays))


def by_phase(
    program: Program, num_steps: Mapping[str, int], num_fitting: int
) -> dict[str, Program]:
    """What to compile for each phase of a run.

    A CPU runs one program for both. An accelerator asks the host before every turn of a loop whose
    length it does not know, and at every branch: it gets loops of a known length, the longest that
    divides both phases, and a program of its own for sampling, without the branch for warmup.

    Parameters
    ----------
    program
        What is common to both.
    num_steps
        Phase -> steps.
    num_fitting
        Kept draws for which there is room, at least 1.
    """
    if program.layout.platform == "cpu":
        return dict.fromkeys(num_steps, program)
    block = None
    if not any(steps % program.thinning for steps in num_steps.values()):
        shared = math.gcd(*(steps // program.thinning for steps in num_steps.values()))
        longest = min(MAX_BLOCK, num_fitting)
        block = max(n for n in range(1, longest + 1) if shared % n == 0)
    return {
        phase: program._replace(block=block, is_frozen=phase == SAMPLING) for phase in num_steps
    }


def runs_batches(kernel: MCMCKernel) -> bool:
    """Whether the kernel takes a batch of keys for a batch of chains by itself."""
    return isinstance(kernel, BatchedKernel | HMC) or kernel.is_ensemble_kernel


def field(state: Any, name: str) -> Any:
    """A field of the state, dots for nested ones."""
    return reduce(getattr, name.split("."), state)


def _step(program: Program, state: Any) -> Any:
    kernel, layout = program.kernel, program.layout
    args, kwargs = program.constants.args, program.constants.kwargs
    if isinstance(kernel, BatchedKernel):
        return kernel.sample(
            state, args, kwargs, map_chains=layout.map_chains, is_frozen=program.is_frozen
        )
    one = partial(kernel.sample, model_args=args, model_kwargs=kwargs)
    if kernel.is_ensemble_kernel:
        return one(state)
    return layout.on_each_device(one if runs_batches(kernel) else jax.vmap(one))(state)


def _collect(program: Program, state: Any) -> dict[str, Any]:
    return {name: field(state, name) for name in program.fields}


def _constrain(program: Program) -> Callable[[Any], Any] | None:
    """Function of draws `(draw, chain, ...)` to the model's sites with the same leading axes.

    None where a draw is reported as it is, since there is no model.
    """
    constants = program.constants
    one = program.kernel.postprocess_fn(constants.args, constants.kwargs)
    return None if one is identity else jax.vmap(program.layout.map_chains(one))


def _without_draws(program: Program) -> Any:
    """Deterministic sites of a model that a kernel of NumPyro runs without any latent site."""
    constants = program.constants
    return program.kernel.postprocess_fn(constants.args, constants.kwargs)({})


class Buffers(NamedTuple):
    """Room for the draws of one chunk, leading axes `(row, chain)`.

    Attributes
    ----------
    fields
        Collected fields, the draw in unconstrained coordinates among them.
    constrained
        The draw as the model's sites, deterministic ones included; None where there is no model.
    """

    fields: dict[str, Any]
    constrained: Any


def row_shapes(program: Program, state: Any, num_rows: int) -> Buffers:
    """Shapes and types of `num_rows` draws, without values."""
    collected = jax.eval_shape(partial(_collect, program), state)
    rows = jax.tree.map(lambda x: jax.ShapeDtypeStruct((num_rows, *x.shape), x.dtype), collected)
    constrain = _constrain(program)
    draws = rows[program.kernel.sample_field]
    if constrain is None:
        return Buffers(rows, None)
    if jax.tree.leaves(draws):
        return Buffers(rows, jax.eval_shape(constrain, draws))
    axes = (num_rows, program.layout.num_chains)
    one = jax.eval_shape(lambda: _without_draws(program))
    return Buffers(
        rows, jax.tree.map(lambda x: jax.ShapeDtypeStruct((*axes, *x.shape), x.dtype), one)
    )


def make_buffers(program: Program, state: Any, num_rows: int) -> Buffers:
    """Empty room for `num_rows` draws, a power of two."""
    leaves, structure = jax.tree.flatten(row_shapes(program, state, num_rows))
    shapes = tuple((x.shape, x.dtype) for x in leaves)
    return jax.tree.unflatten(structure, _zeros(program.layout, shapes))


@partial(jax.jit, static_argnums=(0, 1))
def _zeros(layout: Layout, shapes: tuple[tuple[tuple[int, ...], Any], ...]) -> list[jax.Array]:
    """Arrays of zeros, by one program for all of them."""
    return layout.constrain([jnp.zeros(shape, dtype) for shape, dtype in shapes], axis=1)


def _write(
    row: Int[Array, ""], is_first: Bool[Array, ""] | None, room: jax.Array, value: jax.Array
) -> jax.Array:
    """Write a row; where `is_first` tells that it has been begun, add to it."""
    if is_first is not None:
        so_far = jax.lax.dynamic_index_in_dim(room, row, 0, keepdims=False)
        value = jnp.where(is_first, value, so_far + value)
    return jax.lax.dynamic_update_index_in_dim(room, value, row, 0)


@compiled_loop(partial(jax.jit, static_argnames="program", donate_argnames="buffers"))
def run_chunk(
    program: Program,
    state: Any,
    buffers: Buffers,
    num_rows: Int[Array | np.ndarray, ""],
    num_skipped: Int[Array | np.ndarray, ""],
    arrays: Any = None,
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
        How many draws, a multiple of the program's `block`; 0 for compiling only.
    num_skipped
        Steps by which the first draw comes early, where thinning does not divide the phase.
    arrays
        Those among the model's arguments; None where they are compiled in.

    Returns
    -------
    The state after them, and the buffers.
    """
    program = program.bound(arrays)
    layout = program.layout

    def step(i: Int[Array, ""], carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, fields = carry
        state = layout.constrain(_step(program, state))
        # every step writes its row: the last of the `thinning` steps of a row stays, counts add up
        row = i // program.thinning
        is_first = (i == num_skipped) | (i % program.thinning == 0)
        rows = {}
        for name, value in _collect(program, state).items():
            adds_up = program.thinning > 1 and name in SUMMED
            write = partial(_write, row, is_first if adds_up else None)
            rows[name] = jax.tree.map(write, fields[name], value)
        return state, rows

    carry = (state, buffers.fields)
    if program.block is None:
        num_steps = num_rows * program.thinning
        state, fields = jax.lax.fori_loop(num_skipped, num_steps, step, carry)
    else:
        known = program.block * program.thinning

        def steps(i: Int[Array, ""], carry: tuple[Any, Any]) -> tuple[Any, Any]:
            return jax.lax.fori_loop(0, known, lambda j, carry: step(i * known + j, carry), carry)

        state, fields = jax.lax.fori_loop(0, num_rows // program.block, steps, carry)
    constrain = _constrain(program)
    if constrain is None:
        return state, layout.constrain(Buffers(fields, None), axis=1)
    draws = fields[program.kernel.sample_field]
    if not jax.tree.leaves(draws):
        constrained = jax.tree.map(
            lambda room, value: jnp.broadcast_to(value, room.shape),
            buffers.constrained,
            _without_draws(program),
        )
        return state, layout.constrain(Buffers(fields, constrained), axis=1)
    length = min(CONSTRAINED, len(jax.tree.leaves(draws)[0]))

    def block(i: Int[Array, ""], constrained: Any) -> Any:
        start = i * length
        part = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, length), draws)
        return jax.tree.map(
            lambda room, value: jax.lax.dynamic_update_slice_in_dim(room, value, start, 0),
            constrained,
            constrain(part),
        )

    num_blocks = (num_rows + length - 1) // length
    constrained = jax.lax.fori_loop(0, num_blocks, block, buffers.constrained)
    return state, layout.constrain(Buffers(fields, constrained), axis=1)
