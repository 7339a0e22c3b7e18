"""Maximum mean discrepancy between two samples.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = exp(-|x - y|^2 / (2 h^2)),

with `h` the median distance between draws of the reference (Gretton, Borgwardt, Rasch, Schölkopf
and Smola, A kernel two-sample test, JMLR 13, 2012). The V-statistic, which is at least 0, has all
pairs; the U-statistic leaves out pairs of a draw with itself, and is 0 on average where both
samples have one distribution.

With weights `w` of `1/n` and `-1/m` on the two samples the V-statistic is `sum_ij w_i w_j k(z_i,
z_j)`, and stays the same when `k` is centred in each argument by the mean over all draws. The
centred kernel has mean zero where the distributions are equal, so that the bootstrap of
`bootstrap.py` applies, which allows for the autocorrelation of either.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.distance import pdist

from numpyro_score.diagnostics.discrepancy.bootstrap import Blocks, p_value
from numpyro_score.diagnostics.discrepancy.pairs import block_sums

MAX_FOR_MEDIAN = 1_000
"""Draws whose distances the median is of."""


class Mmd(NamedTuple):
    """A maximum mean discrepancy.

    Attributes
    ----------
    v, u
        V- and U-statistic: squared discrepancies.
    expected
        V-statistic that independent draws of one distribution have on average.
    p_value
        Probability of a U-statistic as large if both are of one distribution, with this
        autocorrelation.
    """

    v: float
    u: float
    expected: float
    p_value: float


def median_distance(points: Float[np.ndarray, "draws dim"]) -> float:
    """Median distance between some of the draws, evenly chosen.

    Parameters
    ----------
    points
        Draws.

    Examples
    --------
    >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
    2.0
    """
    step = max(-(-len(points) // MAX_FOR_MEDIAN), 1)
    return float(np.median(pdist(points[::step])))


def gaussian_kernel(
    left: Float[Array, "a dim"], right: Float[Array, "b dim"], bandwidth: Float[Array, ""]
) -> Float[Array, "a b"]:
    """`exp(-|x - y|^2 / (2 h^2))` of every pair.

    Parameters
    ----------
    left, right
        Points.
    bandwidth
        `h`.

    Examples
    --------
    >>> x = jnp.zeros((1, 2))
    >>> gaussian_kernel(x, x, jnp.array(1.0)).tolist()
    [[1.0]]
    """
    squared = jnp.sum(left**2, axis=1)[:, None] + jnp.sum(right**2, axis=1) - 2 * left @ right.T
    return jnp.exp(-jnp.maximum(squared, 0.0) / (2 * bandwidth**2))


def moments_kernel(
    left: Float[Array, "a dim"], right: Float[Array, "b dim"], _: Float[Array, ""]
) -> Float[Array, "a b"]:
    """`x.y / dim + 2 (x.y)^2 / (dim (dim + 1))`, whose discrepancy is that of moments.

    Of a standard Gaussian the first and second moments vary by 1 and 2 on the diagonal: the second
    count twice, since the Gaussian kernel sees a location well.

    Parameters
    ----------
    left, right
        Points.

    Examples
    --------
    >>> x = jnp.full((1, 1), 2.0)
    >>> moments_kernel(x, x, jnp.array(1.0)).tolist()
    [[20.0]]
    """
    dim = left.shape[1]
    inner = left @ right.T
    return inner / dim + 2 * inner**2 / (dim * (dim + 1))


def mmd(
    left: Float[np.ndarray, "a dim"],
    right: Float[np.ndarray, "b dim"],
    blocks: Blocks,
    rng: np.random.Generator,
    *,
    bandwidth: float | None = None,
    of_moments: bool = False,
) -> Mmd:
    """Maximum mean discrepancy between two samples, and whether it is more than chance.

    Parameters
    ----------
    left, right
        Samples, at least two draws each, chain after chain; `right` the reference.
    blocks
        `bootstrap.join` of the blocks of both.
    rng
        Of the bootstrap's signs.
    bandwidth
        `h`, in units of the samples; None for `median_distance` of the reference.
    of_moments
        Whether to compare first and second moments alone; the samples are then to be around the
        reference's mean and in units of its sds.

    Examples
    --------
    >>> from numpyro_score.diagnostics.discrepancy.bootstrap import cut, join
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500, 2))
    >>> blocks = join(cut(1, 500, 1.0), cut(1, 500, 1.0))
    >>> mmd(x, y, blocks, rng).p_value > 0.01, mmd(x, y + 1, blocks, rng).p_value < 0.01
    (True, True)
    """
    num_left, num_right = len(left), len(right)
    kernel = moments_kernel if of_moments else gaussian_kernel
    points = jnp.asarray(np.concatenate([left, right]))
    h = jnp.asarray(median_distance(right) if bandwidth is None else bandwidth, points.dtype)
    sums = block_sums(kernel, points[blocks.place], blocks.is_draw, h)
    each = jax.vmap(lambda x: kernel(x[None], x[None], h)[0, 0])
    own = np.asarray(each(points), np.float64)
    is_left = blocks.place[:, 0] < num_left
    count = blocks.is_draw.sum(axis=1)
    # means over pairs of two draws
    pairs = [
        (sums[np.ix_(side, side)].sum() - own[draws].sum()) / (num * (num - 1))
        for side, draws, num in (
            (is_left, slice(num_left), num_left),
            (~is_left, slice(num_left, None), num_right),
        )
    ]
    cross = sums[np.ix_(is_left, ~is_left)].sum() / (num_left * num_right)
    weight = np.where(is_left, 1 / num_left, -1 / num_right)
    row = np.outer(sums.sum(axis=1), count) / count.sum()
    centred = sums - row - row.T + sums.sum() * np.outer(count, count) / count.sum() ** 2
    return Mmd(
        v=float(weight @ sums @ weight),
        u=float(sum(pairs) - 2 * cross),
        expected=float((1 / num_left + 1 / num_right) * (own[num_left:].mean() - pairs[1])),
        p_value=p_value(centred * np.outer(weight, weight), blocks, rng),
    )
