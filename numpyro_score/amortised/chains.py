"""Exact draws of the posteriors of many data sets, in one compiled program.

For each data set a chain alternates blocks of two kinds. In a block of jumps the candidates are
draws of the amortised posterior, all made ahead in one batch, and accepted or rejected by
independence Metropolis-Hastings. In a block of local moves there are steps of MALA, which evaluate
the model but not the network. Both leave the posterior invariant. The proposal's density at the
current position is expensive, because the flow has to be inverted; it is needed once in a block.

A local move costs a small part of a jump where the model is cheap beside a network, so that most
draws are states after several local moves; jumps bring chains to where local moves do not. Before
the first block the local moves' step size and preconditioner are learned from all chains of the
data set, so that chains are right also where the amortised posterior is not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.adaptation.metric import fisher
from numpyro_score.adaptation.pooled import pooled_warmup
from numpyro_score.amortised.kernel import check_sites, finite_weights
from numpyro_score.compilation import compiled_loop
from numpyro_score.constants import Constants
from numpyro_score.kernels import langevin
from numpyro_score.kernels.independence import independence_jump
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE, mala, optimal_step_size
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.samplers.proposals.defensive import weigh
from numpyro_score.targets.numpyro_model import initialize
from numpyro_score.targets.simulated import WithData

NUM_JUMPS = 5
"""Jumps in a block, each of which is a draw."""

NUM_LOCAL = 20
"""Draws in a block of local moves."""

NUM_MOVES = 8
"""Local moves from one draw to the next."""

BLOCK = NUM_LOCAL + NUM_JUMPS
"""Draws in a pair of blocks."""

LARGEST_DENSE = 50
"""Coordinates up to which local moves have a dense preconditioner."""


class Corrected(NamedTuple):
    """What chains on one data set return.

    Attributes
    ----------
    draws
        Site -> `(chain, draw, *shape)`.
    lp
        Log density of the unconstrained position, `(chain, draw)`.
    acceptance_rate
        Of the jump, or mean of the local moves, that led to a draw, `(chain, draw)`.
    jump_acceptance_rate, local_acceptance_rate
        Means of both kinds after warmup.
    log_weights
        Log posterior density less that of the proposal, at its draws; NaN at heavy-tailed ones.
    """

    draws: Mapping[str, Any]
    lp: Float[Array, "chain draw"]
    acceptance_rate: Float[Array, "chain draw"]
    jump_acceptance_rate: Float[Array, ""]
    local_acceptance_rate: Float[Array, ""]
    log_weights: Float[Array, " num"]


class Draw(NamedTuple):
    """A draw of all chains, unconstrained; fields as of `Corrected`."""

    position: Float[Array, "*block chain dim"]
    lp: Float[Array, "*block chain"]
    acceptance_rate: Float[Array, "*block chain"]


@dataclass(frozen=True)
class Plan:
    """What the program is compiled for.

    Attributes
    ----------
    posterior
        The amortised posterior.
    model, constants
        The model and its arguments.
    num_chains
        Chains of each data set.
    num_warmup
        Local moves of every chain before the first draw.
    num_blocks
        Pairs of a block of local moves and one of jumps.
    """

    posterior: Any
    model: Any
    constants: Constants
    num_chains: int
    num_warmup: int
    num_blocks: int


@compiled_loop(eqx.filter_jit)
def correct_batch(plan: Plan, flow: Any, rng_keys: Any, data: Mapping[str, Any]) -> Corrected:
    """Chains on several data sets, which are the leading axis of keys and data.

    Parameters
    ----------
    plan
        Settings, the posterior and the model.
    flow
        Arrays of the posterior's flow.
    rng_keys
        One key a data set.
    data
        Site -> `(data_set, *shape)`.
    """
    return jax.vmap(partial(_correct, plan, plan.posterior.with_flow(flow)))(rng_keys, data)


def _correct(plan: Plan, posterior: Any, rng_key: Any, data: Mapping[str, Any]) -> Corrected:
    args, kwargs = plan.constants.args, plan.constants.kwargs
    key_init, key_draft, key_weigh, key_start, key_warmup, key_steps = jax.random.split(rng_key, 6)
    model = WithData(plan.model, posterior.names, data)
    template, functions, _ = initialize(key_init, model, args, kwargs)
    check_sites(posterior, template)
    unravel = ravel_pytree(template)[1]
    density = functions.logdensity_fn(args, kwargs)

    def logdensity_fn(x: Float[Array, " dim"]) -> Float[Array, ""]:
        return density(unravel(x))

    start = partial(langevin.init, logdensity_fn=logdensity_fn)
    proposal = posterior.proposal(data)
    shape = (plan.num_blocks, NUM_JUMPS, plan.num_chains)
    drafts = jax.vmap(proposal.draft)(jax.random.split(key_draft, math.prod(shape)))
    x = jax.vmap(proposal.unwhiten)(drafts.u)
    log_q = weigh(proposal, key_weigh, drafts)
    states = jax.vmap(start)(x)
    log_weights = states.logdensity - log_q
    # warmup starts from some of the draws, which later are candidates
    chosen = jax.random.categorical(
        key_start, finite_weights(log_weights), shape=(plan.num_chains,)
    )
    state = jax.tree.map(lambda a: a[chosen], states)
    candidates = jax.tree.map(lambda a: a.reshape(*shape, *a.shape[1:]), (states, log_q))
    state, step_size, preconditioner = _warm_up(logdensity_fn, key_warmup, state, plan.num_warmup)

    def move(state: Any, rng_key: Any) -> tuple[Any, Any]:
        return _move(logdensity_fn, rng_key, state, step_size, preconditioner)

    def moves(state: Any, rng_key: Any) -> tuple[Any, Any]:
        state, rates = jax.lax.scan(move, state, jax.random.split(rng_key, NUM_MOVES))
        return state, Draw(state.position, state.logdensity, jnp.mean(rates, axis=0))

    def jump(carry: Any, given: Any) -> tuple[Any, Any]:
        (state, log_q), (rng_key, candidate, candidate_log_q) = carry, given
        keys = jax.random.split(rng_key, plan.num_chains)
        state, info = jax.vmap(
            lambda key, one, other, old, new: independence_jump(
                key, one, other, log_proposal=old, candidate_log_proposal=new
            )
        )(keys, state, candidate, log_q, candidate_log_q)
        log_q = jnp.where(info.is_accepted, candidate_log_q, log_q)
        return (state, log_q), Draw(state.position, state.logdensity, info.acceptance_rate)

    def block(state: Any, given: Any) -> tuple[Any, Any]:
        rng_key, candidates = given
        key_moves, key_density, key_jumps = jax.random.split(rng_key, 3)
        state, local = jax.lax.scan(moves, state, jax.random.split(key_moves, NUM_LOCAL))
        log_q = jax.vmap(proposal.log_prob, (None, 0))(key_density, state.position)
        given = (jax.random.split(key_jumps, NUM_JUMPS), *candidates)
        (state, _), jumps = jax.lax.scan(jump, (state, log_q), given)
        return state, (local, jumps)

    keys = jax.random.split(key_steps, plan.num_blocks)
    _, (local, jumps) = jax.lax.scan(block, state, (keys, candidates))

    def collected(*blocks: Array) -> Array:
        a = jnp.concatenate(blocks, axis=1)
        return jnp.swapaxes(a.reshape(-1, *a.shape[2:]), 0, 1)

    found = jax.tree.map(collected, local, jumps)
    constrain = functions.postprocess_fn(args, kwargs)
    draws = jax.vmap(jax.vmap(lambda x: constrain(unravel(x))))(found.position)
    log_weights = jnp.where(drafts.is_heavy, jnp.nan, log_weights)
    return Corrected(
        draws,
        found.lp,
        found.acceptance_rate,
        jnp.mean(jumps.acceptance_rate),
        jnp.mean(local.acceptance_rate),
        log_weights,
    )


def _move(
    logdensity_fn: FlatLogDensity, rng_key: Any, state: Any, step_size: Array, preconditioner: Any
) -> tuple[Any, Float[Array, " chain"]]:
    """One step of MALA of every chain, and how likely each was accepted."""
    kernel = mala.build_kernel()
    keys = jax.random.split(rng_key, len(step_size))
    state, info = jax.vmap(
        lambda key, one, step_size: kernel(key, one, logdensity_fn, step_size, preconditioner)
    )(keys, state, step_size)
    return state, info.acceptance_rate


def _warm_up(
    logdensity_fn: FlatLogDensity, rng_key: Any, state: Any, num_warmup: int
) -> tuple[Any, Float[Array, " chain"], Any]:
    """Step size and preconditioner from all chains of a data set, and where the chains end."""
    dim = state.position.shape[1]
    warmup = pooled_warmup(
        target_acceptance_rate=TARGET_ACCEPTANCE_RATE,
        estimator=fisher,
        is_dense=dim <= LARGEST_DENSE,
        optimal_step_size=optimal_step_size,
    )

    def step(carry: Any, rng_key: Any) -> tuple[Any, None]:
        state, learned = carry
        key_move, key_warmup = jax.random.split(rng_key)
        step_size = jnp.exp(learned.log_step_size)
        state, rates = _move(logdensity_fn, key_move, state, step_size, learned.preconditioner)
        learned, source = warmup.update(
            learned, key_warmup, state.position, state.logdensity_grad, state.logdensity, rates
        )
        return (jax.tree.map(lambda a: a[source], state), learned), None

    learned = warmup.init(
        state.position, state.logdensity_grad, optimal_step_size(max(dim, 1)), None, num_warmup
    )
    keys = jax.random.split(rng_key, num_warmup)
    (state, learned), _ = jax.lax.scan(step, (state, learned), keys)
    learned = warmup.final(learned)
    return state, jnp.exp(learned.log_step_size), learned.preconditioner
