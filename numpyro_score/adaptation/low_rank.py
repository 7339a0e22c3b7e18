"""A low-rank `P` from draws and gradients, where it holds on draws that it has not seen.

For hundreds of dimensions, where a full matrix is expensive: a diagonal and a few directions
(Seyboldt, Carlson and Carpenter 2026, arXiv:2603.18845; the estimator is BlackJAX's). With few
draws, or gradients of heavy tails, the directions are those of the noise. The Fisher divergence of
the whitened target to `N(0, I)`, `E |L^T grad + L^-1 x|^2`, is therefore compared with that of the
diagonal on held-out draws, and the better one is taken.
"""

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.compilation import load_blackjax

if TYPE_CHECKING:
    from blackjax.mcmc.metrics import LowRankInverseMassMatrix

Rows: TypeAlias = Array | np.ndarray
"""`(draw, dim)`."""

HELD_OUT = 0.2
"""Fraction of the draws, the last ones, on which the estimates are compared."""


class LowRankFit(NamedTuple):
    """A metric, and how it did on held-out draws.

    Attributes
    ----------
    inverse_mass_matrix
        `LowRankInverseMassMatrix`, or the diagonal `(dim,)` where that is better.
    is_low_rank
        Which of both it is.
    divergence, diagonal_divergence
        Fisher divergence on the held-out draws, of the low-rank estimate and of the diagonal, both
        from the other draws; 0 is a Gaussian of covariance `P`.
    """

    inverse_mass_matrix: "LowRankInverseMassMatrix | Float[Array, ' dim']"
    is_low_rank: bool
    divergence: float
    diagonal_divergence: float


def fisher_low_rank(draws: Rows, grads: Rows, max_rank: int = 10) -> LowRankFit:
    """A diagonal and up to `max_rank` directions, or the diagonal alone, with a warning.

    Parameters
    ----------
    draws, grads
        Positions of all chains, raveled, and the gradients of the log density there. Chain after
        chain, so that the last fifth, which is held out, are chains of their own.
    max_rank
        Most directions.

    Returns
    -------
    The estimate from all draws, for `numpyro_score.kernels.whitened`, or for BlackJAX's `nuts` and
    `hmc`, which take it as their metric.

    Raises
    ------
    ValueError
        The shapes differ, there are less than ten draws, one is not finite, or a coordinate does
        not vary.

    Warns
    -----
    UserWarning
        The diagonal is taken.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> wide = jnp.ones(150) / 150**0.5
    >>> z, w = jax.random.normal(jax.random.key(0), (200, 151))[:, :150], 30.0
    >>> x = z + (w - 1) * (z @ wide)[:, None] * wide
    >>> grad = -x + (1 - w**-2) * (x @ wide)[:, None] * wide
    >>> fisher_low_rank(x, grad).is_low_rank
    True
    """
    load_blackjax()
    from blackjax.adaptation.metric_estimators import fisher_score_low_rank
    from blackjax.mcmc.metrics import LowRankInverseMassMatrix

    check_whole("max_rank", max_rank)
    x, grad = jnp.asarray(draws), jnp.asarray(grads)
    if x.ndim != 2 or x.shape != grad.shape or len(x) < 10:
        raise ValueError(
            f"draws have shape {x.shape} and grads {grad.shape}; give both as (draw, dim), with "
            "ten draws or more."
        )
    if not (jnp.isfinite(x).all() and jnp.isfinite(grad).all()):
        raise ValueError("draws or grads are not finite; leave those draws out.")
    still = jnp.flatnonzero((jnp.std(x, axis=0) == 0) | (jnp.std(grad, axis=0) == 0))
    if still.size:
        raise ValueError(
            f"draws or gradients of the coordinates {still[:5].tolist()} ({still.size} in all) do "
            "not vary; leave those coordinates out."
        )
    rank = min(max_rank, x.shape[1])
    known = len(x) - round(HELD_OUT * len(x))

    def fit(num: int) -> tuple[Any, Any]:
        low_rank = fisher_score_low_rank(x[:num], grad[:num], rank)
        return low_rank, LowRankInverseMassMatrix(
            low_rank.sigma, low_rank.U, jnp.ones_like(low_rank.lam)
        )

    found, plain = (_divergence(x, grad, metric, known) for metric in fit(known))
    low_rank, diagonal = fit(len(x))
    if found < plain:
        return LowRankFit(low_rank, True, found, plain)
    warnings.warn(
        f"the low-rank metric is no better than the diagonal on held-out draws (Fisher divergence "
        f"{found:.3g}, diagonal {plain:.3g}): the diagonal is taken. Give more draws.",
        stacklevel=2,
    )
    return LowRankFit(diagonal.sigma**2, False, found, plain)


def _divergence(x: Array, grad: Array, metric: Any, known: int) -> float:
    """`E |L^T grad + L^-1 x - m|^2` over the draws that are not known, `m` from the others."""
    root = jnp.sqrt(metric.lam)

    def stretch(rows: Array, by: Array) -> Array:
        return rows + ((rows @ metric.U) * (by - 1)) @ metric.U.T

    both = stretch(grad * metric.sigma, root) + stretch(x / metric.sigma, 1 / root)
    residual = both[known:] - jnp.mean(both[:known], axis=0)
    value = jnp.mean(jnp.sum(residual**2, axis=1))
    return float(jnp.where(jnp.isfinite(value), value, jnp.inf))
