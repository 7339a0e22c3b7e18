"""Maximum mean discrepancy between two samples.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = exp(-|x - y|^2 / (2 h^2)),

with `h` the median distance between draws of the reference (Gretton, Borgwardt, Rasch, Schölkopf
and Smola, A kernel two-sample test, JMLR 13, 2012). The V-statistic, which is at least 0, has all
pairs; the U-statistic leaves out pairs of a draw with itself, and is 0 on average where both
samples have one law.

With weights `w` of `1/n` and `-1/m` on the two samples the V-statistic is `sum_ij w_i w_j k(z_i,
z_j)`, and stays the same when `k` is centred in each argument by the mean over all draws. The
centred kernel has mean zero where the laws are one, so that the bootstrap of `bootstrap.py`
applies, which allows for the autocorrelation of either.
"""

from typing import NamedTuple

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
        V-statistic that independent draws of one law have on average.
    p_value
        Probability of a U-statistic as large for draws of one law with such an autocorrelation.
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


def mmd(
    left: Float[np.ndarray, "a dim"],
    right: Float[np.ndarray, "b dim"],
    blocks: Blocks,
    rng: np.random.Generator,
    bandwidth: float | None = None,
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
    h = median_distance(right) if bandwidth is None else bandwidth
    points = jnp.asarray(np.concatenate([left, right]))
    sums = block_sums(
        gaussian_kernel, points[blocks.place], blocks.is_draw, jnp.asarray(h, points.dtype)
    )
    count = blocks.is_draw.sum(axis=1)
    is_left = blocks.stretch < blocks.stretch[np.argmax(blocks.place[:, 0] >= num_left)]
    weight = np.where(is_left, 1 / num_left, -1 / num_right)
    v = float(weight @ sums @ weight)
    # a draw with itself has 1
    within = [
        (sums[np.ix_(side, side)].sum() - num) / (num * (num - 1))
        for side, num in ((is_left, num_left), (~is_left, num_right))
    ]
    cross = sums[np.ix_(is_left, ~is_left)].sum() / (num_left * num_right)
    share = count / count.sum()
    rows = sums.sum(axis=1) / count.sum()
    centred = sums - np.outer(count, rows) - np.outer(rows, count)
    centred += np.outer(count, count) * (rows @ np.ones_like(share)) / count.sum()
    return Mmd(
        v=v,
        u=float(sum(within) - 2 * cross),
        expected=float((1 / num_left + 1 / num_right) * (1 - within[1])),
        p_value=p_value(centred * np.outer(weight, weight), blocks, rng),
    )
