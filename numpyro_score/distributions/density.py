"""Log densities and draws of a flow for batches of points, compiled once for each structure."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.distributions.conditional_flow import ConditionalFlow
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.types import RngKey

type Flow = LearnedProposal | ConditionalFlow


def flow_at(flow: Any, condition: Any) -> LearnedProposal:
    """The flow at one condition; the condition is None for a flow that takes none."""
    return flow.at(condition) if isinstance(flow, ConditionalFlow) else flow


@eqx.filter_jit
def log_density(
    flow: Any,
    u: Float[Array, "*batch dim"],
    condition: Float[Array, "*own condition"] | None,
) -> Float[Array, "..."]:
    """Log density of unconstrained points, each given its own condition, or all the same one."""
    # a flow's density is a function of the point, and uses no key
    key = jax.random.key(0)

    def one(u: Array, condition: Any) -> Array:
        return flow_at(flow, condition).log_prob(key, u)

    shape = u.shape[:-1]
    if shape == () and (condition is None or condition.ndim == 1):
        return one(u, condition)
    rows = u.reshape(-1, u.shape[-1])
    if condition is not None and condition.ndim > 1:
        length = condition.shape[-1]
        batch = jnp.broadcast_shapes(shape, condition.shape[:-1])
        rows = jnp.broadcast_to(u, (*batch, u.shape[-1])).reshape(-1, u.shape[-1])
        each = jnp.broadcast_to(condition, (*batch, length)).reshape(-1, length)
        return jax.vmap(one)(rows, each).reshape(batch)
    return jax.vmap(one, (0, None))(rows, condition).reshape(shape)


@eqx.filter_jit
def draws(
    flow: Any, rng_key: RngKey, shape: tuple[int, ...], condition: Any
) -> Float[Array, "*batch dim"]:
    """Unconstrained draws of a shape, each given its own condition, or all the same one."""

    def one(rng_key: Any, condition: Any) -> Array:
        proposal = flow_at(flow, condition)
        return proposal.unwhiten(proposal.draft(rng_key).u)

    num = math.prod(shape)
    keys = jax.random.split(rng_key, num)
    if condition is None or condition.ndim == 1:
        x = jax.vmap(one, (0, None))(keys, condition)
    else:
        length = condition.shape[-1]
        x = jax.vmap(one)(keys, jnp.broadcast_to(condition, (*shape, length)).reshape(num, length))
    return x.reshape(*shape, flow.dim)
