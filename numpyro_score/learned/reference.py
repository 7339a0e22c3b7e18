"""The reference distribution that annealing and tempering start from: the prior, or a Gaussian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.kernels.proposals import IndependentProposal, from_distribution
from numpyro_score.targets.prior import prior_proposal
from numpyro_score.types import RngKey

SPREAD = 10.0
"""Sd of the Gaussian where there is no prior to draw from."""


def as_reference(reference: IndependentProposal | Any) -> IndependentProposal | None:
    """A user's `reference=` as a proposal; None stays None.

    Raises
    ------
    TypeError
        If it is neither a NumPyro distribution nor an `IndependentProposal`.
    """
    if reference is None or isinstance(reference, IndependentProposal):
        return reference
    return from_distribution(reference)


def position_of(reference: IndependentProposal | None) -> Float[Array, " dim"] | None:
    """A flat position of a reference's shape, zeros; None where there is none.

    A log density of a flat vector needs no other position for its shape.
    """
    if reference is None:
        return None
    position, _ = jax.eval_shape(reference.sample_and_log_prob, jax.random.key(0))
    return ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), position))[0]


def reference_of(
    given: IndependentProposal | None,
    model: Callable[..., Any] | None,
    flat: Float[Array, " dim"],
    args: Any,
    kwargs: dict[str, Any],
) -> IndependentProposal:
    """The given distribution; else the model's prior over the flat position; else a wide Gaussian.

    Parameters
    ----------
    given
        The result of `as_reference`.
    model
        A NumPyro model, or None.
    flat
        A flat position, of which length and type are used.
    args, kwargs
        What the model is called with.
    """
    if given is not None:
        return given
    normal = dist.Normal(jnp.zeros_like(flat), SPREAD, validate_args=False)
    wide = from_distribution(normal.to_event(1))
    if model is None:
        return wide
    sample, log_prob = prior_proposal(model, args, kwargs)
    try:
        position, _ = jax.eval_shape(sample, jax.random.key(0))
    except ValueError:
        # an improper prior
        return wide
    unravel = ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), position))[1]

    def flat_sample(rng_key: RngKey) -> tuple[Array, Array]:
        position, value = sample(rng_key)
        return ravel_pytree(position)[0], value

    return IndependentProposal(flat_sample, lambda x: log_prob(unravel(x)))
