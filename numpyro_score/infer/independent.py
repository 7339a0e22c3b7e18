"""`independent`: the sampler of independent draws, each made from nothing but its key.

There is no chain: each step is one whole draw. Warmup draws nothing.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from numpyro_score.infer.sampler import Context, Sampler, SamplerState, StepInfo, first, ravel
from numpyro_score.infer.state import KernelState
from numpyro_score.types import Position, RngKey


class Draw(NamedTuple):
    """One independent draw.

    Attributes
    ----------
    x
        The draw, flat or of the shape of a point.
    logdensity
        Its log density under the sampler's own distribution; None where that is not known.
    num_grad
        Evaluations of the score, or gradients, that it took.
    """

    x: Float[Array, "..."]
    logdensity: Float[Array, ""] | None
    num_grad: Any


class DrawState(NamedTuple):
    """State of a batch of chains of independent draws.

    Attributes
    ----------
    position
        The last draw, in unconstrained coordinates.
    logdensity
        Its log density under the sampler's own distribution; None where that is not known.
    """

    position: Position
    logdensity: Float[Array, " chain"] | None


type DrawFn = Callable[[RngKey, Position, Context], Draw]
"""`(rng_key, template, context)` -> one draw of the template's size."""


def independent(
    draw: DrawFn,
    *,
    is_exact: bool,
    has_logdensity: bool,
    settings: Mapping[str, Any],
    remark: Callable[[Float[np.ndarray, "chain dim"]], str | None] | None = None,
) -> Sampler:
    """The sampler of independent draws.

    Parameters
    ----------
    draw
        Makes one draw. With a sampler that is `prepared` first, `context.learned` is what was
        learned.
    is_exact
        Whether draws are distributed as the target.
    has_logdensity
        Whether `draw` returns a log density, which is reported as `potential_energy`.
    settings
        What distinguishes one such sampler from another.
    remark
        The last draws, one a chain -> what a user has to know of them, or None.

    Examples
    --------
    >>> import jax
    >>> def normal(rng_key, template, context):
    ...     return Draw(jax.random.normal(rng_key, template.shape), None, 0)
    >>> sampler = independent(normal, is_exact=True, has_logdensity=False, settings={})
    >>> sampler.draws_are_independent
    True
    """
    return Sampler(
        init=partial(_init, has_logdensity),
        step=partial(_step, draw),
        is_exact=is_exact,
        draws_are_independent=True,
        fields=("potential_energy",) if has_logdensity else (),
        settings=settings,
        describe=describe,
        warmup_step=_wait,
        remark=None if remark is None else partial(_remark, remark),
    )


def _remark(
    remark: Callable[[Float[np.ndarray, "chain dim"]], str | None], state: KernelState
) -> str | None:
    return remark(np.asarray(jax.vmap(ravel)(state.z)))


def describe(state: KernelState) -> str:
    """What a draw takes, for the progress bar."""
    return f"{int(jnp.max(state.num_grad))} evaluations of the score a draw"


def _init(
    has_logdensity: bool,
    rng_keys: Any,
    positions: Position,
    context: Context,
    num_warmup: int | Int[Array, ""],
) -> SamplerState:
    del rng_keys, context, num_warmup
    leaf = jax.tree.leaves(positions)[0]
    unknown = jnp.full(leaf.shape[:1], jnp.nan, leaf.dtype) if has_logdensity else None
    return SamplerState(DrawState(positions, unknown), None)


def _wait(
    rng_keys: Any, state: SamplerState, context: Context, step_number: Any
) -> tuple[SamplerState, StepInfo]:
    """A step of warmup: nothing is drawn, at no cost."""
    del rng_keys, context, step_number
    num_chains = jax.tree.leaves(state.chains.position)[0].shape[0]
    none = jnp.zeros(num_chains, jnp.int32)
    return state, StepInfo(None, jnp.zeros(num_chains, bool), none, none)


def _step(
    draw: DrawFn, rng_keys: Any, state: SamplerState, context: Context, step_number: Any
) -> tuple[SamplerState, StepInfo]:
    del step_number
    template = first(state.chains.position)
    flat, unravel = ravel_pytree(template)

    def one(rng_key: Any) -> tuple[DrawState, StepInfo]:
        x, logdensity, num_grad = draw(rng_key, template, context)
        position = unravel(x.reshape(-1).astype(flat.dtype))
        if logdensity is not None:
            logdensity = logdensity.astype(flat.dtype)
        num_grad = jnp.asarray(num_grad, jnp.int32)
        info = StepInfo(None, ~jnp.all(jnp.isfinite(x)), num_grad, jnp.zeros((), jnp.int32))
        return DrawState(position, logdensity), info

    chains, info = context.map_chains(one)(rng_keys)
    return SamplerState(chains, None), info
