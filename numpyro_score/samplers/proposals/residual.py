"""How well a flow is undone: its draws flowed back to noise, and the two densities compared.

A chain whose moves are undone only roughly is biased by about the residual (Noe et al. 2019,
doi:10.1126/science.aaw1147, for flows as proposals).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.types import RngKey


class RoundTrip(NamedTuple):
    """Errors over draws of a flow; of the order of rounding where its density is exact.

    Attributes
    ----------
    noise_error
        Largest error of a coordinate of the noise that comes back.
    log_prob_gap
        Largest difference of the log densities computed on the two ways.
    lost
        Share of draws whose way back was not found. A chain treats such a point as one that the
        flow does not reach, so that anything but 0 is a bias of about its size.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> RoundTrip(jnp.array(1e-5), jnp.array(1e-4), jnp.array(0.0)).lost.shape
    ()
    """

    noise_error: Float[Array, ""]
    log_prob_gap: Float[Array, ""]
    lost: Float[Array, ""]


@eqx.filter_jit
def round_trip(flow: MonotoneFlow, rng_key: RngKey, num_draws: int = 1000) -> RoundTrip:
    """Draw, flow back to noise, and compare.

    Parameters
    ----------
    flow
        The law of a proposal that `flow_proposal` made.
    rng_key
        One key.
    num_draws
        Draws.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers.proposals import flow_proposal
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> proposal = flow_proposal(lambda x, t: -x / (1 + noise.variance(t)), noise, 2, num_steps=8)
    >>> bool(round_trip(proposal.learned, jax.random.key(0), 10).noise_error < 1e-3)
    True
    """
    z = jax.random.normal(rng_key, (num_draws, flow.dim), flow.start_sd.dtype)
    x, log_prob = jax.vmap(flow.decode)(z)
    encoded = jax.vmap(flow.encode)(x)
    reached = jnp.isfinite(log_prob)
    found = jnp.isfinite(encoded.log_prob) & reached
    gap = jnp.where(found, jnp.abs(encoded.log_prob - log_prob), 0.0)
    error = jnp.where(found[:, None], jnp.abs(encoded.z - z), 0.0)
    lost = jnp.sum(reached & ~found) / jnp.maximum(jnp.sum(reached), 1)
    return RoundTrip(jnp.max(error), jnp.max(gap), lost)
