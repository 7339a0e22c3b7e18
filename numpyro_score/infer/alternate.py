"""`alternate`: local steps, and a jump of all chains at every k-th step.

Both kinds of step leave the target invariant, and so does any fixed order of them. All chains make
the same kind of step at the same time, so that a batch computes only that kind. The proposal's
density at the current position is evaluated anew at each jump, because local steps have changed the
position since (an old value would bias the chain).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.infer.sampler import Context, Sampler, SamplerState, StepInfo, first, ravel
from numpyro_score.infer.state import KernelState
from numpyro_score.kernels.independence import independence_jump
from numpyro_score.types import Position


class Candidates(NamedTuple):
    """Where all chains may jump to, flat.

    Attributes
    ----------
    x
        Candidates.
    log_q
        Log density of the proposal at the candidates.
    log_q_current
        The same at the chains' current positions.
    is_lost
        Whether the proposal's density at a current position could not be found in full.
    """

    x: Float[Array, "chain dim"]
    log_q: Float[Array, " chain"]
    log_q_current: Float[Array, " chain"]
    is_lost: Bool[Array, " chain"]


class Jump(NamedTuple):
    """Proposals that do not depend on the positions of the chains.

    Attributes
    ----------
    init
        `(num_chains, context) -> state`, with a leading chain axis.
    propose
        `(keys_draw, keys_weigh, state, positions, context, number) -> (state, Candidates)`, with
        two keys for each chain, flat positions, and the number of jumps before this one.
    is_exact
        Whether the log densities that it returns are exact.
    """

    init: Callable[[int, Context], Any]
    propose: Callable[..., tuple[Any, Candidates]]
    is_exact: bool


class JumpStatistics(NamedTuple):
    """What is reported of a chain's last steps.

    Attributes
    ----------
    is_global
        Whether the last step was a jump.
    global_accept_prob, local_accept_prob
        Acceptance probability of the last step of either kind; 0 before the first.
    log_q
        Log density of the proposal where the last jump left the chain.
    is_lost
        Whether the chain's position could not be flowed back to noise at the last jump. If the flow
        does reach such positions, their frequency bounds the bias of the chain.
    rejections, longest_rejection
        Jumps rejected in a row: at present, and at most.
    """

    is_global: Bool[Array, "*chain"]
    global_accept_prob: Float[Array, "*chain"]
    local_accept_prob: Float[Array, "*chain"]
    log_q: Float[Array, "*chain"]
    is_lost: Bool[Array, "*chain"]
    rejections: Int[Array, "*chain"]
    longest_rejection: Int[Array, "*chain"]


FIELDS = tuple(name for name in JumpStatistics._fields if name != "rejections")
"""What `alternate` reports besides the local sampler's fields."""


class AlternateState(NamedTuple):
    """State of a batch of chains; fields of its parts are attributes of it too.

    Attributes
    ----------
    local
        State of the local sampler.
    statistics
        What is reported.
    jump
        State of the jumps.
    """

    local: Any
    statistics: JumpStatistics
    jump: Any

    def __getattr__(self, name: str) -> Any:
        """A field of the statistics, or of the local sampler's state."""
        if name in JumpStatistics._fields:
            return getattr(self.statistics, name)
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.local, name)


Interval = Callable[[Context], int]
"""Steps from one jump to the next, by what the jumps propose."""


def alternate(local: Sampler, jump: Jump, *, every: int | Interval) -> Sampler:
    """Local steps, with a jump in place of every `every`-th one after warmup.

    Parameters
    ----------
    local
        The local moves. Warmup tunes them.
    jump
        The proposals of the jumps; accepted or rejected by Metropolis-Hastings.
    every
        After warmup every `every`-th step is a jump; or a function of the context that gives this
        number when the step is traced.

    Examples
    --------
    >>> from numpyro_score.infer.learned_jump import LEARNED_JUMP
    >>> from numpyro_score.infer.markov import markov
    >>> from numpyro_score.kernels import ula
    >>> from numpyro_score.kernels.signature import algorithm_of
    >>> biased = markov(algorithm_of(ula, {}), step_size=0.1, adapt_step_size=False)
    >>> alternate(biased, LEARNED_JUMP, every=5).is_exact
    False
    """
    warmup_step = local.warmup_step
    return Sampler(
        init=partial(_init, local, jump),
        step=partial(_step, local, jump, every),
        is_exact=local.is_exact and jump.is_exact,
        draws_are_independent=False,
        fields=(*local.fields, *FIELDS),
        settings={**local.settings, "global_every": None if callable(every) else every},
        describe=describe,
        warmup_step=None if warmup_step is None else partial(_local_step, warmup_step),
        tune=None if local.tune is None else partial(_tune, local),
        target_accept_prob=local.target_accept_prob,
    )


def describe(state: KernelState) -> str:
    """Step size and both acceptances, for the progress bar."""
    assert state.adapt_state is not None
    step_size = float(jnp.mean(state.adapt_state.step_size))
    local, jumps = (
        float(jnp.mean(state.local_accept_prob)),
        float(jnp.mean(state.global_accept_prob)),
    )
    return f"step size {step_size:.2e}. acc. prob local={local:.2f} global={jumps:.2f}"


def _init(
    local: Sampler,
    jump: Jump,
    rng_keys: Any,
    positions: Position,
    context: Context,
    num_warmup: int | Int[Array, ""],
) -> SamplerState:
    chains, adapt = local.init(rng_keys, positions, context, num_warmup)
    shape, dtype = chains.logdensity.shape, chains.logdensity.dtype
    no, zero, none = (jnp.zeros(shape, kind) for kind in (bool, dtype, jnp.int32))
    statistics = JumpStatistics(no, zero, zero, jnp.full(shape, jnp.nan, dtype), no, none, none)
    return SamplerState(AlternateState(chains, statistics, jump.init(shape[0], context)), adapt)


def _tune(local: Sampler, rng_key: Any, state: SamplerState, info: StepInfo) -> SamplerState:
    assert local.tune is not None
    tuned = local.tune(rng_key, SamplerState(state.chains.local, state.adapt), info)
    return SamplerState(state.chains._replace(local=tuned.chains), tuned.adapt)


def _step(
    local: Sampler,
    jump: Jump,
    every: int | Interval,
    rng_keys: Any,
    state: SamplerState,
    context: Context,
    step_number: Any,
) -> tuple[SamplerState, StepInfo]:
    interval = every(context) if callable(every) else every
    return jax.lax.cond(
        (step_number > 0) & (step_number % interval == 0),
        partial(
            _jump_step,
            local,
            jump,
            rng_keys,
            state,
            context,
            jnp.maximum(step_number // interval - 1, 0),
        ),
        partial(_local_step, local.step, rng_keys, state, context, step_number),
    )


def _local_step(
    step: Callable[..., tuple[SamplerState, StepInfo]],
    rng_keys: Any,
    state: SamplerState,
    context: Context,
    step_number: Any,
) -> tuple[SamplerState, StepInfo]:
    chains: AlternateState = state.chains
    (new, adapt), info = step(
        rng_keys, SamplerState(chains.local, state.adapt), context, step_number
    )
    rate = jnp.asarray(info.acceptance_rate, chains.local_accept_prob.dtype)
    statistics = chains.statistics._replace(
        is_global=jnp.zeros_like(chains.is_global), local_accept_prob=rate
    )
    chains = chains._replace(local=new, statistics=statistics)
    return SamplerState(chains, adapt), info._replace(acceptance_rate=rate)


def _jump_step(
    local: Sampler,
    jump: Jump,
    rng_keys: Any,
    state: SamplerState,
    context: Context,
    number: Any,
) -> tuple[SamplerState, StepInfo]:
    chains: AlternateState = state.chains
    keys = jax.vmap(partial(jax.random.split, num=4))(rng_keys)
    flat = jax.vmap(ravel)(chains.position)
    jump_state, (x, *log_q, is_lost) = jump.propose(
        keys[:, 0], keys[:, 3], chains.jump, flat, context, number
    )
    # positions may be in single precision where proposals are in double
    x, (log_new, log_old) = x.astype(flat.dtype), (q.astype(chains.log_q.dtype) for q in log_q)
    unravel = ravel_pytree(first(chains.position))[1]
    candidates, _ = local.init(keys[:, 1], jax.vmap(unravel)(x), context, 0)

    def one(key: Any, current: Any, candidate: Any, log_new: Any, log_old: Any) -> Any:
        return independence_jump(
            key, current, candidate, log_proposal=log_old, candidate_log_proposal=log_new
        )

    new, info = context.map_chains(one)(keys[:, 2], chains.local, candidates, log_new, log_old)
    rejections = jnp.where(info.is_accepted, 0, chains.rejections + 1)
    statistics = JumpStatistics(
        is_global=jnp.ones_like(chains.is_global),
        global_accept_prob=info.acceptance_rate,
        local_accept_prob=chains.local_accept_prob,
        log_q=jnp.where(info.is_accepted, log_new, log_old),
        is_lost=is_lost,
        rejections=rejections,
        longest_rejection=jnp.maximum(chains.longest_rejection, rejections),
    )
    # one evaluation at the candidate, with a gradient where the local sampler holds one
    has_grad = jnp.full(rejections.shape, int(hasattr(new, "logdensity_grad")), jnp.int32)
    jumped = StepInfo(info.acceptance_rate, info.is_divergent, has_grad, 1 - has_grad)
    return SamplerState(AlternateState(new, statistics, jump_state), state.adapt), jumped
