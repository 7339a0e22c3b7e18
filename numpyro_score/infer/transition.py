"""How a `Sampler` with its warmup starts, steps and follows a target that changes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
from numpyro.util import is_prng_key

from numpyro_score.infer.sampler import Context, Sampler, add_axis, first, split_keys
from numpyro_score.infer.state import KernelState, first_state, next_state
from numpyro_score.types import Position


def begin(
    sampler: Sampler,
    rng_key: Any,
    key_start: Any,
    position: Position,
    context: Context,
    num_warmup: int | Int[Array, ""],
    learned: Any,
) -> KernelState:
    """The state before the first step.

    Parameters
    ----------
    sampler, context
        What is started, and what its functions are given.
    rng_key
        Key of the first step, or one a chain.
    key_start
        Key of the start, or one a chain.
    position
        Where a chain starts; behind a chain axis for a batch of keys.
    num_warmup
        Steps of warmup to come.
    learned
        Arrays of what was learned.
    """
    if is_prng_key(rng_key):
        key_start, position = add_axis((key_start, position))
    return first_state(
        sampler.init(key_start, position, context, num_warmup),
        num_warmup,
        learned,
        rng_key,
        has_acceptance="accept_prob" in sampler.fields,
    )


def advance(
    sampler: Sampler, state: KernelState, context: Context, *, is_frozen: bool
) -> KernelState:
    """The state after one step; during warmup, after one step of the adaptation too.

    Parameters
    ----------
    sampler, context
        What steps, and what its functions are given.
    state
        The state before.
    is_frozen
        True where the warmup is known to be over, for a program without a branch.
    """
    is_single = is_prng_key(state.rng_key)
    rng_key, key_step = split_keys(state.rng_key, 2)
    step_number = state.step_number + 1

    def branch(in_warmup: Callable[[], Any], after: Callable[[], Any]) -> Any:
        return after() if is_frozen else jax.lax.cond(step_number <= 0, in_warmup, after)

    keys = add_axis(key_step) if is_single else key_step
    arguments = (keys, state.as_batch(is_single=is_single), context, step_number)
    step = partial(sampler.step, *arguments)
    if sampler.warmup_step is not None:
        step = partial(branch, partial(sampler.warmup_step, *arguments), step)
    new, info = step()
    if state.accept_prob is not None:
        # a kernel that meets a NaN may report it as its acceptance
        rate = jnp.asarray(info.acceptance_rate, state.accept_prob.dtype)
        info = info._replace(acceptance_rate=jnp.nan_to_num(rate))
    tune = sampler.tune
    if tune is not None:

        def adapt() -> tuple[Any, Any]:
            # the keys of the chains' next steps, so that steps after warmup split none for it
            later, key_tune = split_keys(rng_key, 2)
            return tune(key_tune if is_single else key_tune[0], new, info), later

        new, rng_key = branch(adapt, lambda: (new, rng_key))
    return next_state(state, new, info, step_number, rng_key)


def refreshed(refresh: Callable[..., Any], state: KernelState, context: Context) -> KernelState:
    """The state at the same position, with all that belongs to the target evaluated anew.

    Parameters
    ----------
    refresh
        As in `Sampler`.
    state
        The state before.
    context
        The target as it is now.
    """
    is_single = is_prng_key(state.rng_key)
    # the key of the next step must not be used here
    key = split_keys(state.rng_key, 2)[0]
    chains = state.as_batch(is_single=is_single).chains
    chains = refresh(add_axis(key) if is_single else key, chains, context)
    return state._replace(kernel_state=first(chains) if is_single else chains)
