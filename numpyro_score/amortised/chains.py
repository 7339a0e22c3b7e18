"""Exact draws of the posteriors of many data sets, in one compiled program.

For each data set a chain alternates blocks of two kinds. In a block of jumps the candidates are
draws of the amortised posterior, all made ahead in one batch, and accepted or rejected by
independence Metropolis-Hastings. In a block of local moves there are steps of MALA, which evaluate
the model but not the network. Both leave the posterior invariant. The proposal's density at the
current position is dear, because the flow has to be inverted; it is needed once in a block.

The states after jumps are the draws. Local moves are not among them: they cost little beside a
network, and are more correlated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.amortised.kernel import check_sites, finite_weights
from numpyro_score.constants import Constants
from numpyro_score.kernels import langevin
from numpyro_score.kernels.independence import independence_jump
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE, mala, optimal_step_size
from numpyro_score.samplers.proposals.defensive import weigh
from numpyro_score.step_size import follow_acceptance
from numpyro_score.targets.numpyro_model import initialize
from numpyro_score.targets.simulated import WithData

NUM_JUMPS = 25
"""Jumps in a block."""

NUM_MOVES = 50
"""Local moves in a block."""

GAIN = 0.2
"""Change of the log step size for each unit of the acceptance rate, in warmup."""

NORMAL_QUARTILES = 1.349
"""Distance of the quartiles of a Gaussian, in units of its sd."""


class Corrected(NamedTuple):
    """What chains on one data set return.

    Attributes
    ----------
    draws
        Site -> `(chain, draw, *shape)`.
    lp
        Log density of the unconstrained position, `(chain, draw)`.
    acceptance_rate
        Of the jumps, `(chain, draw)`.
    local_acceptance_rate
        Mean of the local moves after warmup.
    log_weights
        Log posterior density less that of the proposal, at its draws; NaN at heavy-tailed ones.
    """

    draws: Mapping[str, Any]
    lp: Float[Array, "chain draw"]
    acceptance_rate: Float[Array, "chain draw"]
    local_acceptance_rate: Float[Array, ""]
    log_weights: Float[Array, " num"]


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
    num_warmup, num_blocks
        Pairs of a block of local moves and one of jumps: before the first draw, and after.
    """

    posterior: Any
    model: Any
    constants: Constants
    num_chains: int
    num_warmup: int
    num_blocks: int


@eqx.filter_jit
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
    key_init, key_draft, key_weigh, key_start, key_steps = jax.random.split(rng_key, 5)
    model = WithData(plan.model, posterior.names, data)
    template, functions, _ = initialize(key_init, model, args, kwargs)
    check_sites(posterior, template)
    unravel = ravel_pytree(template)[1]
    density = functions.logdensity_fn(args, kwargs)

    def logdensity_fn(x: Float[Array, " dim"]) -> Float[Array, ""]:
        return density(unravel(x))

    start = partial(langevin.init, logdensity_fn=logdensity_fn)
    proposal = posterior.proposal(data)
    # the first block is for the start
    num_blocks = plan.num_warmup + plan.num_blocks
    shape = (1 + num_blocks, NUM_JUMPS, plan.num_chains)
    num = shape[0] * shape[1] * shape[2]
    drafts = jax.vmap(proposal.draft)(jax.random.split(key_draft, num))
    x = jax.vmap(proposal.unwhiten)(drafts.u)
    log_q = weigh(proposal, key_weigh, drafts)
    states = jax.vmap(start)(x)
    log_weights = states.logdensity - log_q
    quartiles = jnp.nanquantile(x, jnp.array([0.25, 0.75]), axis=0)
    variance = ((quartiles[1] - quartiles[0]) / NORMAL_QUARTILES) ** 2

    candidates = jax.tree.map(lambda a: a.reshape(*shape, *a.shape[1:]), (states, log_q))
    first, rest = (jax.tree.map(take, candidates) for take in (lambda a: a[0], lambda a: a[1:]))
    weights = finite_weights(log_weights.reshape(shape)[0])
    chosen = jax.random.categorical(key_start, weights, axis=0)
    state = jax.tree.map(lambda a: a[chosen, jnp.arange(plan.num_chains)], first[0])

    kernel = mala.build_kernel()

    def move(carry: Any, rng_key: Any) -> tuple[Any, Any]:
        state, log_step_size, gain = carry
        keys = jax.random.split(rng_key, plan.num_chains)
        state, info = jax.vmap(
            lambda key, one: kernel(key, one, logdensity_fn, jnp.exp(log_step_size), variance)
        )(keys, state)
        rate = info.acceptance_rate
        log_step_size = follow_acceptance(
            log_step_size, jnp.mean(rate), TARGET_ACCEPTANCE_RATE, gain=gain
        )
        return (state, log_step_size, gain), jnp.mean(rate)

    def jump(carry: Any, given: Any) -> tuple[Any, Any]:
        (state, log_q), (rng_key, candidate, candidate_log_q) = carry, given
        keys = jax.random.split(rng_key, plan.num_chains)
        state, info = jax.vmap(
            lambda key, one, other, old, new: independence_jump(
                key, one, other, log_proposal=old, candidate_log_proposal=new
            )
        )(keys, state, candidate, log_q, candidate_log_q)
        log_q = jnp.where(info.is_accepted, candidate_log_q, log_q)
        return (state, log_q), (state.position, state.logdensity, info.acceptance_rate)

    def block(carry: Any, given: Any) -> tuple[Any, Any]:
        (state, log_step_size), (number, rng_key, candidates) = carry, given
        key_moves, key_density, key_jumps = jax.random.split(rng_key, 3)
        gain = jnp.where(number < plan.num_warmup, GAIN, 0.0)
        (state, log_step_size, _), rates = jax.lax.scan(
            move, (state, log_step_size, gain), jax.random.split(key_moves, NUM_MOVES)
        )
        log_q = jax.vmap(proposal.log_prob, (None, 0))(key_density, state.position)
        given = (jax.random.split(key_jumps, NUM_JUMPS), *candidates)
        (state, _), jumps = jax.lax.scan(jump, (state, log_q), given)
        return (state, log_step_size), (jumps, jnp.mean(rates))

    begin = jnp.log(jnp.asarray(optimal_step_size(x.shape[1]), x.dtype))
    keys = jax.random.split(key_steps, num_blocks)
    _, (found, local_rates) = jax.lax.scan(
        block, (state, begin), (jnp.arange(num_blocks), keys, rest)
    )

    def collected(a: Array) -> Array:
        a = a[plan.num_warmup :]
        return jnp.swapaxes(a.reshape(-1, *a.shape[2:]), 0, 1)

    positions, lp, rate = jax.tree.map(collected, found)
    constrain = functions.postprocess_fn(args, kwargs)
    draws = jax.vmap(jax.vmap(lambda x: constrain(unravel(x))))(positions)
    is_learned = ~drafts.is_heavy
    local_rate = jnp.mean(local_rates[plan.num_warmup :])
    return Corrected(draws, lp, rate, local_rate, jnp.where(is_learned, log_weights, jnp.nan))
