"""Jumps to draws of a learned proposal, which are made ahead in pools, for all chains together."""

from typing import Any

import jax
import jax.numpy as jnp

from numpyro_score.infer.alternate import Candidates, Jump
from numpyro_score.infer.sampler import Context
from numpyro_score.samplers.proposals.defensive import Draft, LearnedProposal, finish

POOL = 1024
"""Proposals that are made at a time, for all chains together."""

EVERY_MIXTURE, EVERY_NETWORK = 2, 5
"""Steps from one jump to the next. A jump to a draw of a mixture, or product, costs as much as a
local step, one of a network some hundred evaluations of it besides."""


def usual_interval(context: Context) -> int:
    """Steps from one jump to the next where the user gives no number."""
    return interval_of(context.learned)


def interval_of(proposal: LearnedProposal) -> int:
    """The same for a proposal."""
    return EVERY_MIXTURE if proposal.learned.kind in ("mixture", "product") else EVERY_NETWORK


def _init(num_chains: int, context: Context) -> Draft:
    """An empty pool, `(chain, row)`."""
    proposal: LearnedProposal = context.learned
    rows = -(-POOL // num_chains)
    one = jax.eval_shape(proposal.draft, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.zeros((num_chains, rows, *x.shape), x.dtype), one)


def _propose(
    keys_draw: Any, keys_weigh: Any, pool: Draft, positions: Any, context: Context, number: Any
) -> tuple[Draft, Candidates]:
    proposal: LearnedProposal = context.learned
    rows = pool.log_learned.shape[1]
    row = number % rows

    def fill() -> Draft:
        def drafts(key: Any) -> Draft:
            return jax.vmap(proposal.draft)(jax.random.split(key, rows))

        return context.map_chains(drafts)(keys_draw)

    pool = jax.lax.cond(row == 0, fill, lambda: pool)
    draft = jax.tree.map(lambda x: x[:, row], pool)
    log_q, log_q_current, is_lost = finish(
        proposal, keys_weigh, draft, jax.vmap(proposal.whiten)(positions)
    )
    x = jax.vmap(proposal.unwhiten)(draft.u)
    return pool, Candidates(x, log_q, log_q_current, is_lost)


LEARNED_JUMP = Jump(_init, _propose, is_exact=True)
"""Jumps to draws of `context.learned`, a `LearnedProposal`.

Exact for a path, whose weight is that of the path drawn; for a flow as long as no fold of its map
goes undetected.
"""
