"""Kernel Stein discrepancy: how far draws are from a density known by its score alone.

With a kernel `k` and the score `s = grad log p`,

    k_0(x, y) = s(x).s(y) k + s(x).grad_y k + s(y).grad_x k + div_x grad_y k

has mean zero under `p` in each argument. The V-statistic `mean_ij k_0(x_i, x_j)` is the squared
discrepancy of the draws, at least 0; the U-statistic leaves out `i = j`, and is 0 on average for
independent exact draws (Liu, Lee and Jordan 2016, arXiv:1602.03253; Chwialkowski, Strathmann and
Gretton 2016, arXiv:1602.02964). Two kernels:

* the inverse multiquadric `(c^2 + |x - y|^2)^(-1/2)`, which detects whether draws converge (Gorham
  and Mackey 2017, arXiv:1703.01717);
* the same with `x.y` added, each divided by its mean of `k_0(x, x)` under a standard Gaussian:
  without it wrong first and second moments may go undetected (Kanagawa, Barp, Gretton and Mackey
  2022, arXiv:2211.05408), and a variance 25% too large takes many more draws to be seen.

**Neither detects wrong weights of modes that lie apart**: the score is the same whatever they are.

Positions are whitened by the preconditioner of the draws and their scores (`P Cov(s) P = Cov(x)`,
`adaptation/metric.py`), which is the scale within a mode where modes lie apart; `c` is in units of
it. Gorham and Mackey take `c = 1`; smaller ones see more of a wrong variance, 1/2 the most of
1/4, 1/2, .7, 1 and 2 in 1, 2 and 10 dimensions.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.adaptation.metric import fisher_metric
from numpyro_score.adaptation.moments import Moments
from numpyro_score.diagnostics.discrepancy.bootstrap import Blocks, p_value
from numpyro_score.diagnostics.discrepancy.pairs import block_sums

SCALE = 0.5
"""`c`, in units of the preconditioner's root."""

DRAWS_PER_DIM = 10
"""Draws a dimension from which on the preconditioner is a matrix, below it is diagonal."""


class Ksd(NamedTuple):
    """A kernel Stein discrepancy.

    Attributes
    ----------
    v, u
        V- and U-statistic: squared discrepancies.
    expected
        V-statistic that independent exact draws have on average.
    p_value
        Probability of a U-statistic as large for draws of the density with such an
        autocorrelation.
    """

    v: float
    u: float
    expected: float
    p_value: float

    @property
    def value(self) -> float:
        """The discrepancy, root of the V-statistic."""
        return math.sqrt(max(self.v, 0.0))

    @property
    def floor(self) -> float:
        """The discrepancy of as many independent exact draws."""
        return math.sqrt(max(self.expected, 0.0))


def imq_stein(
    left: tuple[Float[Array, "a dim"], Float[Array, "a dim"]],
    right: tuple[Float[Array, "b dim"], Float[Array, "b dim"]],
    scale: Float[Array, ""],
) -> Float[Array, "a b"]:
    """`k_0` of the inverse multiquadric kernel.

    Parameters
    ----------
    left, right
        Points and scores there.
    scale
        `c`.

    Examples
    --------
    >>> x = jnp.array([[1.0, 0.0]])
    >>> round(float(imq_stein((x, -x), (x, -x), jnp.array(1.0))[0, 0]), 6)  # |s|^2 + dim
    3.0
    """
    (x, s), (y, t) = left, right
    squared = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1) - 2 * x @ y.T
    squared = jnp.maximum(squared, 0.0)
    # (s - t).(x - y)
    drift = jnp.sum(s * x, axis=1)[:, None] + jnp.sum(t * y, axis=1) - s @ y.T - x @ t.T
    inverse = 1 / (scale**2 + squared)
    k = jnp.sqrt(inverse)
    return k * (s @ t.T + inverse * (drift + x.shape[1] - 3 * squared * inverse))


def linear_stein(
    left: tuple[Float[Array, "a dim"], Float[Array, "a dim"]],
    right: tuple[Float[Array, "b dim"], Float[Array, "b dim"]],
) -> Float[Array, "a b"]:
    """`k_0` of the kernel `x.y`, whose discrepancy is `|E[s(x) x^T] + I|`.

    Parameters
    ----------
    left, right
        Points and scores there.

    Examples
    --------
    >>> x = jnp.array([[1.0, 0.0]])
    >>> float(linear_stein((x, -x), (x, -x))[0, 0])
    1.0
    """
    (x, s), (y, t) = left, right
    own = jnp.sum(s * x, axis=1)[:, None] + jnp.sum(t * y, axis=1)
    return (s @ t.T) * (x @ y.T) + own + x.shape[1]


def imq_and_linear_stein(
    left: tuple[Float[Array, "a dim"], Float[Array, "a dim"]],
    right: tuple[Float[Array, "b dim"], Float[Array, "b dim"]],
    scale: Float[Array, ""],
) -> Float[Array, "a b"]:
    """The sum of both, each divided by its mean on the diagonal under a standard Gaussian."""
    dim = left[0].shape[1]
    imq_diagonal = dim / scale + dim / scale**3
    linear_diagonal = dim * (dim + 1)
    return (
        imq_stein(left, right, scale) / imq_diagonal + linear_stein(left, right) / linear_diagonal
    )


def whiten(
    points: Float[np.ndarray, "draws dim"], scores: Float[np.ndarray, "draws dim"]
) -> tuple[Float[Array, "draws dim"], Float[Array, "draws dim"]]:
    """Points and scores in the coordinates of their own preconditioner.

    Parameters
    ----------
    points
        Draws.
    scores
        Scores at them.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(1000, 2)) * [1.0, 100.0]
    >>> z, score = whiten(x, -x / [1.0, 1e4])
    >>> np.asarray(z).std(axis=0).round(1).tolist(), bool(jnp.allclose(score, -z, atol=0.1))
    ([1.0, 1.0], True)
    """
    num_draws, dim = points.shape
    centred = points - points.mean(axis=0)
    is_dense = dim > 1 and num_draws >= DRAWS_PER_DIM * dim

    def moments(values: Float[np.ndarray, "draws dim"]) -> Moments:
        around = values - values.mean(axis=0)
        scatter = around.T @ around if is_dense else np.sum(around**2, axis=0)
        return Moments(*(jnp.asarray(v) for v in (float(num_draws), values.mean(axis=0), scatter)))

    factor = np.asarray(fisher_metric(moments(points), moments(scores)).factor, np.float64)
    if factor.ndim == 1:
        return jnp.asarray(centred / factor), jnp.asarray(scores * factor)
    return jnp.asarray(np.linalg.solve(factor, centred.T).T), jnp.asarray(scores @ factor)


def ksd(
    points: Float[Array, "draws dim"],
    scores: Float[Array, "draws dim"],
    blocks: Blocks,
    rng: np.random.Generator,
    *,
    scale: float = SCALE,
    with_moments: bool = False,
) -> Ksd:
    """Kernel Stein discrepancy of draws, and whether it is more than chance.

    Parameters
    ----------
    points, scores
        Draws and the scores at them, chain after chain; whitened (`whiten`), or in units in which
        `scale` is meant.
    blocks
        `bootstrap.cut` of the chains.
    rng
        Of the bootstrap's signs.
    scale
        `c` of the inverse multiquadric kernel.
    with_moments
        Whether to add the kernel `x.y`, for first and second moments.

    Examples
    --------
    >>> from numpyro_score.diagnostics.discrepancy.bootstrap import cut
    >>> rng = np.random.default_rng(0)
    >>> x = jnp.asarray(rng.normal(size=(1000, 2)))
    >>> ksd(x, -x, cut(1, 1000, 1.0), rng).p_value > 0.01
    True
    >>> ksd(2 * x, -2 * x, cut(1, 1000, 1.0), rng).p_value < 0.01  # the score of a unit variance
    True
    """
    sums, diagonal = _stein_sums(points, scores, blocks, scale, with_moments)
    num_draws = len(points)
    return Ksd(
        v=float(sums.sum() / num_draws**2),
        u=float((sums.sum() - diagonal) / (num_draws * max(num_draws - 1, 1))),
        expected=diagonal / num_draws**2,
        p_value=p_value(sums, blocks, rng),
    )


def _stein_sums(
    points: Float[Array, "draws dim"],
    scores: Float[Array, "draws dim"],
    blocks: Blocks,
    scale: float,
    with_moments: bool,
) -> tuple[Float[np.ndarray, "block block"], float]:
    kernel = imq_and_linear_stein if with_moments else imq_stein
    parameter = jnp.asarray(scale, points.dtype)
    arrays = points[blocks.place], scores[blocks.place]
    sums = block_sums(kernel, arrays, blocks.is_draw, parameter)
    each = jax.vmap(lambda x, s: kernel((x[None], s[None]), (x[None], s[None]), parameter)[0, 0])
    return sums, float(jnp.sum(each(points, scores)))
