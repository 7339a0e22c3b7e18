"""Errors of inverting a flow: draws are mapped back to noise, and the densities compared.

A chain with a flow proposal is biased by about the error of the inversion (flows as proposals: Noe
et al. 2019, doi:10.1126/science.aaw1147).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.types import RngKey


class RoundTrip(NamedTuple):
    """Inversion errors over draws of a flow, of the order of rounding if its density is exact.

    Attributes
    ----------
    noise_error
        Largest error of a coordinate of the recovered noise.
    log_prob_gap
        Largest difference of the log densities computed in the two directions.
    lost
        Share of draws for which the inversion failed. A chain gives such a point density 0, so that
        the bias is of about this size.

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
    """Draw from a flow, invert it, and compare.

    Parameters
    ----------
    flow
        The flow in a proposal of `flow_proposal`, its attribute `learned`.
    rng_key
        One key.
    num_draws
        Number of draws.

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
