"""Steps of chains that take turns between local moves and global ones, all chains together.

Every `every`-th step is global: a candidate from the proposal's pool is weighed against where the
chain is. The density of the proposal at the chain's place is computed anew each time, by flowing
the place back to noise or by drawing a new path forward from it, because local moves have changed
it since (a stale one biases the chain).
Whose turn it is, is one number for all chains, so that a batch computes only what it is its turn
to compute. Both kinds of step leave the target invariant, and so does any fixed order of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.infer.algorithm import Algorithm
from numpyro_score.infer.state import AdapterState
from numpyro_score.kernels.metropolis import accept_reject
from numpyro_score.samplers.proposals.defensive import Draft, LearnedProposal, finish
from numpyro_score.types import LogDensityFn, Position

POOL = 1024
"""Proposals that are made at a time, for all chains together."""


class Told(NamedTuple):
    """What is told of a chain's last steps.

    Attributes
    ----------
    is_global
        Whether the last step was a global one.
    global_accept_prob, local_accept_prob
        Acceptance probability of the last step of either kind.
    log_q
        Log density of the proposal where the last global step left the chain.
    is_lost
        Whether the chain's place could not be flowed back to noise in the last global step. Where
        the flow does reach such places, how often that happens is the size of the chain's bias.
    rejections, longest_rejection
        Global candidates refused in a row: at present, and at most.
    """

    is_global: Bool[Array, "*chain"]
    global_accept_prob: Float[Array, "*chain"]
    local_accept_prob: Float[Array, "*chain"]
    log_q: Float[Array, "*chain"]
    is_lost: Bool[Array, "*chain"]
    rejections: Int[Array, "*chain"]
    longest_rejection: Int[Array, "*chain"]


SHARED = ("turn", "arrays")
"""Fields of the state that all chains have in common."""


class GlobalLocalState(NamedTuple):
    """State of all chains, of which a single one has no chain axis.

    Attributes
    ----------
    local
        The local algorithm's own state of every chain.
    told
        What is told of every chain.
    pool
        Drafts, `(chain, row)`.
    turn
        Steps since warmup, one number for all chains.
    arrays
        The proposal's arrays, so that a program does not depend on their values.
    """

    local: Any
    told: Told
    pool: Draft
    turn: Int[Array, ""]
    arrays: Any

    @property
    def position(self) -> Position:
        """Where each chain is."""
        return self.local.position

    @property
    def logdensity(self) -> Float[Array, "*chain"]:
        """Log density there."""
        return self.local.logdensity

    @property
    def logdensity_grad(self) -> Position:
        """Its gradient there; there is none where the local algorithm has none."""
        return self.local.logdensity_grad


class GlobalLocalAdapterState(AdapterState):
    """State of the kernel in NumPyro's protocol, with what it tells by name."""

    @property
    def is_global(self) -> Bool[Array, "*chain"]:
        """Whether the last step was a global one."""
        return self.kernel_state.told.is_global

    @property
    def global_accept_prob(self) -> Float[Array, "*chain"]:
        """Acceptance probability of the last global step; 0 before the first."""
        return self.kernel_state.told.global_accept_prob

    @property
    def local_accept_prob(self) -> Float[Array, "*chain"]:
        """Acceptance probability of the last local step; 0 before the first."""
        return self.kernel_state.told.local_accept_prob

    @property
    def log_q(self) -> Float[Array, "*chain"]:
        """Log density of the proposal where the last global step left the chain."""
        return self.kernel_state.told.log_q

    @property
    def is_lost(self) -> Bool[Array, "*chain"]:
        """Whether the way back to noise was not found in the last global step."""
        return self.kernel_state.told.is_lost

    @property
    def longest_rejection(self) -> Int[Array, "*chain"]:
        """The longest run of refused global candidates so far."""
        return self.kernel_state.told.longest_rejection


class TurnInfo(NamedTuple):
    """What happened in a step of either kind.

    Attributes
    ----------
    acceptance_rate, is_divergent
        As in `MetropolisInfo`.
    num_integration_steps
        Gradients evaluated.
    """

    acceptance_rate: Float[Array, "*chain"]
    is_divergent: Bool[Array, "*chain"]
    num_integration_steps: Int[Array, "*chain"]


def start(proposal: LearnedProposal, arrays: Any, local: Any) -> GlobalLocalState:
    """State before the first step, with an empty pool."""
    shape = jnp.shape(local.logdensity)
    dtype = jnp.result_type(local.logdensity)
    rows = -(-POOL // (shape[0] if shape else 1))
    one = jax.eval_shape(proposal.draft, jax.random.key(0))
    pool = jax.tree.map(lambda x: jnp.zeros((*shape, rows, *x.shape), x.dtype), one)
    no, zero, none = (jnp.zeros(shape, kind) for kind in (bool, dtype, jnp.int32))
    told = Told(no, zero, zero, jnp.full(shape, jnp.nan, dtype), no, none, none)
    return GlobalLocalState(local, told, pool, jnp.zeros((), jnp.int32), arrays)


def local_turn(
    algorithm: Algorithm,
    keys: Any,
    state: GlobalLocalState,
    logdensity_fn: LogDensityFn,
    map_chains: Callable[..., Any],
    step_size: Float[Array, " chain"],
    preconditioner: Any,
) -> tuple[GlobalLocalState, TurnInfo]:
    """A local step of every chain of a batch."""

    def one(key: Any, local: Any, step_size: Any) -> tuple[Any, TurnInfo]:
        new, info = algorithm.step(key, local, logdensity_fn, step_size, preconditioner)
        rate = getattr(info, "acceptance_rate", jnp.ones(()))
        num_grad, _ = algorithm.evaluations(info, local)
        return new, TurnInfo(
            jnp.asarray(rate, local.logdensity.dtype),
            algorithm.is_divergent(info, new),
            jnp.asarray(num_grad, jnp.int32),
        )

    local, info = map_chains(one)(keys, state.local, step_size)
    told = state.told._replace(
        is_global=jnp.zeros_like(state.told.is_global), local_accept_prob=info.acceptance_rate
    )
    return state._replace(local=local, told=told), info


def global_turn(
    algorithm: Algorithm,
    keys: Any,
    state: GlobalLocalState,
    logdensity_fn: LogDensityFn,
    map_chains: Callable[..., Any],
    proposal: LearnedProposal,
    row: Int[Array, ""],
) -> tuple[GlobalLocalState, TurnInfo]:
    """An independence step of every chain of a batch, to the pool's `row`."""
    keys = jax.vmap(partial(jax.random.split, num=4))(keys)
    rows = state.pool.log_learned.shape[1]

    def fill() -> Draft:
        def drafts(key: Any) -> Draft:
            return jax.vmap(proposal.draft)(jax.random.split(key, rows))

        return map_chains(drafts)(keys[:, 0])

    pool = jax.lax.cond(row == 0, fill, lambda: state.pool)
    draft = jax.tree.map(lambda x: x[:, row], pool)
    flat = jax.vmap(lambda position: ravel_pytree(position)[0])(state.position)
    log_new, log_old, is_lost = finish(proposal, keys[:, 3], draft, jax.vmap(proposal.whiten)(flat))
    unravel = ravel_pytree(jax.tree.map(lambda x: x[0], state.position))[1]

    def one(keys: Any, local: Any, x: Any, log_new: Any, log_old: Any) -> tuple[Any, Any, Any]:
        candidate = algorithm.init(keys[1], unravel(x), logdensity_fn)
        grad = getattr(candidate, "logdensity_grad", ())
        is_finite = jnp.all(jnp.isfinite(ravel_pytree(grad)[0]))
        ratio = (candidate.logdensity - log_new) - (local.logdensity - log_old)
        new, info = accept_reject(
            keys[2],
            local,
            candidate,
            log_ratio=ratio,
            logdensity=candidate.logdensity,
            is_valid=is_finite,
        )
        return new, info, jnp.where(info.is_accepted, log_new, log_old)

    x = jax.vmap(proposal.unwhiten)(draft.u)
    local, info, log_q = map_chains(one)(keys, state.local, x, log_new, log_old)
    rejections = jnp.where(info.is_accepted, 0, state.told.rejections + 1)
    told = Told(
        is_global=jnp.ones_like(state.told.is_global),
        global_accept_prob=info.acceptance_rate,
        local_accept_prob=state.told.local_accept_prob,
        log_q=log_q,
        is_lost=is_lost,
        rejections=rejections,
        longest_rejection=jnp.maximum(state.told.longest_rejection, rejections),
    )
    # one gradient at the candidate, where the local algorithm has any use for it
    num_grad = jnp.full(rejections.shape, int(hasattr(state.local, "logdensity_grad")), jnp.int32)
    turned = TurnInfo(info.acceptance_rate, info.is_divergent, num_grad)
    return state._replace(local=local, told=told, pool=pool), turned
