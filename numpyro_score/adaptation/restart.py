"""Restarts of the warmup: chains that are stuck go on from the position of another chain."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from numpyro_score.adaptation.state import PooledState
from numpyro_score.types import RngKey


def nothing_accepted(state: PooledState) -> PooledState:
    """The state at the start of a window, of whose acceptance nothing is known."""
    return state._replace(
        accepted=jnp.zeros_like(state.accepted), num_looked=jnp.zeros((), jnp.int32)
    )


def restart(
    state: PooledState,
    rng_key: RngKey,
    is_stuck: Bool[Array, " chain"],
    is_counted: Bool[Array, " chain"] | None = None,
) -> tuple[PooledState, Int[Array, " chain"]]:
    """Restart stuck chains, each from another one that is drawn uniformly; never all.

    Parameters
    ----------
    state
        The warmup.
    rng_key
        One random key.
    is_stuck
        Chains to restart, shape `(chain,)`.
    is_counted
        Those of them whose restart counts; by default all.

    Returns
    -------
    The state, and for each chain the number of the chain from whose position it goes on.
    """
    num_chains = is_stuck.size
    source = jnp.arange(num_chains)
    if num_chains == 1:
        return state, source
    # the rules together could name all
    is_stuck &= ~jnp.all(is_stuck)
    donors = jnp.where(is_stuck, -jnp.inf, 0.0)
    donor = jax.random.categorical(rng_key, donors, shape=(num_chains,))
    source = jnp.where(is_stuck, donor, source)
    counts = is_stuck if is_counted is None else is_stuck & is_counted
    state = state._replace(
        log_step_size=state.log_step_size[source], num_restarts=state.num_restarts + counts
    )
    return state, source
