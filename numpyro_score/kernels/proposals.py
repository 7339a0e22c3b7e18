"""Proposal distributions for Metropolis-Hastings, each with its Hastings correction.

A proposal is a function `(rng_key, x) -> (x', log q(x | x') - log q(x' | x))`. A new one is ten
lines; the correction is all that keeps the chain exact, so test it with exact draws.
They are partials of module-level functions, not closures, so that a kernel with one pickles.
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
    """`x' ~ N(x, step_size^2 P)`: symmetric, so the correction is 0.

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
    """A distribution that proposes without looking at where the chain is.

    Attributes
    ----------
    sample_and_log_prob
        `rng_key -> (x', log q(x'))`, drawn jointly: a flow or an ODE gives both at once.
    log_prob
        `x -> log q(x)` up to the same constant, -inf outside of its support.
    redraw
        None where `log_prob` says all. A proposal of points with auxiliary variables, whose `q` is
        the density of both over that of the variables given the point, has here
        `(rng_key, x) -> log q`, the variables drawn anew; its `log_prob` is for a chain's start.
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
        If it has no such methods.

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
    # some supports compare by NumPy's rules, which a traced bound beside a NumPy array breaks
    position = jnp.asarray(position)
    with warnings.catch_warnings():
        # what is outside of the support gets its -inf below
        warnings.filterwarnings("ignore", "Out-of-support")
        log_prob = jnp.sum(distribution.log_prob(position))
    support = getattr(distribution, "support", None)
    if support is None:
        return log_prob
    # a NumPyro distribution gives finite values outside of its support
    return jnp.where(jnp.all(support(position)), log_prob, -jnp.inf)


def _sample_and_log_prob(distribution: Any, rng_key: RngKey) -> tuple[Position, Float[Array, ""]]:
    position = distribution.sample(rng_key)
    return position, _log_prob(distribution, position)
