"""Proposal distributions for Metropolis-Hastings, each with its Hastings correction.

A proposal is a function `(rng_key, x) -> (x', log q(x | x') - log q(x' | x))`. A new one takes
about ten lines. The chain is exact only if the correction is right, so test it with exact draws.
Proposals are partials of module-level functions, not closures, so that kernels can be pickled.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from numpyro_score.preconditioner import (
    InverseMassMatrix,
    Preconditioner,
    as_preconditioner,
    scale,
)
from numpyro_score.types import Position, RngKey, Scalar


def gaussian_random_walk(
    step_size: Scalar, inverse_mass_matrix: InverseMassMatrix = None
) -> Callable[[RngKey, Position], tuple[Position, Float[Array, ""]]]:
    """`x' ~ N(x, step_size^2 P)`: symmetric, with correction 0.

    Parameters
    ----------
    step_size
        Standard deviation of the move, in units of the square root of `P`.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> candidate, correction = gaussian_random_walk(0.5)(jax.random.key(0), jnp.zeros(2))
    >>> candidate.shape, float(correction)
    ((2,), 0.0)
    """
    return partial(
        _gaussian_move, step_size=step_size, preconditioner=as_preconditioner(inverse_mass_matrix)
    )


def _gaussian_move(
    rng_key: RngKey,
    position: Position,
    *,
    step_size: Scalar,
    preconditioner: Preconditioner | None,
) -> tuple[Position, Float[Array, ""]]:
    x, unravel = ravel_pytree(position)
    noise = jax.random.normal(rng_key, x.shape, x.dtype)
    return unravel(x + step_size * scale(preconditioner, noise)), jnp.zeros((), x.dtype)


class IndependentProposal(NamedTuple):
    """A proposal distribution that does not depend on the chain's position.

    Attributes
    ----------
    sample_and_log_prob
        `rng_key -> (x', log q(x'))`, computed together.
    log_prob
        `x -> log q(x)` up to the same constant, -inf outside of the support.
    redraw
        None if `log_prob` is deterministic. For a proposal with auxiliary variables, whose `q` is
        the joint density divided by the density of the variables given the point, a function
        `(rng_key, x) -> log q` that draws the variables anew; `log_prob` is used at a chain's
        start.
    """

    sample_and_log_prob: Callable[[RngKey], tuple[Position, Float[Array, ""]]]
    log_prob: Callable[[Position], Float[Array, ""]]
    redraw: Callable[[RngKey, Position], Float[Array, ""]] | None = None


def from_distribution(distribution: object) -> IndependentProposal:
    """Independent proposal from a NumPyro distribution over one position array.

    Parameters
    ----------
    distribution
        Any object with `sample(rng_key)` and `log_prob(x)`; batch dimensions are summed over.

    Raises
    ------
    TypeError
        It has no such methods.

    Examples
    --------
    >>> import jax, numpyro.distributions as dist
    >>> proposal = from_distribution(dist.StudentT(5.0, 0.0, 2.0).expand([3]).to_event(1))
    >>> x, log_q = proposal.sample_and_log_prob(jax.random.key(0))
    >>> x.shape, log_q.shape
    ((3,), ())
    """
    lacking = [name for name in ("sample", "log_prob") if not hasattr(distribution, name)]
    if lacking:
        raise TypeError(
            f"a proposal needs sample(rng_key) and log_prob(x), but {type(distribution).__name__} "
            f"lacks {' and '.join(lacking)}; give a NumPyro distribution or an IndependentProposal."
        )
    return IndependentProposal(
        partial(_sample_and_log_prob, distribution), partial(_log_prob, distribution)
    )


def _log_prob(distribution: Any, position: Position) -> Float[Array, ""]:
    # some supports compare with NumPy, which fails for a traced bound and a NumPy array
    position = jnp.asarray(position)
    with warnings.catch_warnings():
        # points outside of the support get -inf below
        warnings.filterwarnings("ignore", "Out-of-support")
        log_prob = jnp.sum(distribution.log_prob(position))
    support = getattr(distribution, "support", None)
    if support is None:
        return log_prob
    # NumPyro's distributions return finite values outside of their support
    return jnp.where(jnp.all(support(position)), log_prob, -jnp.inf)


def _sample_and_log_prob(distribution: Any, rng_key: RngKey) -> tuple[Position, Float[Array, ""]]:
    position = distribution.sample(rng_key)
    return position, _log_prob(distribution, position)
