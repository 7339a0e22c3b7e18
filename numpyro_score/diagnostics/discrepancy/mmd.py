"""Maximum mean discrepancy between two samples.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = exp(-|x - y|^2 / (2 h^2)),

with `h` the median distance between draws of the reference (Gretton, Borgwardt, Rasch, Schölkopf
and Smola, A kernel two-sample test, JMLR 13, 2012). The V-statistic, which is at least 0, has all
pairs; the U-statistic leaves out pairs of a draw with itself, and is 0 on average where both
samples have one law.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.distance import pdist

from numpyro_score.diagnostics.discrepancy.pairs import total

MAX_FOR_MEDIAN = 1_000
"""Draws whose distances the median is of."""


class Mmd(NamedTuple):
    """A squared maximum mean discrepancy, both ways.

    Attributes
    ----------
    v, u
        V- and U-statistic.
    """

    v: float
    u: float


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
    left: Float[np.ndarray, "a dim"], right: Float[np.ndarray, "b dim"], bandwidth: float
) -> Mmd:
    """Maximum mean discrepancy between two samples.

    Parameters
    ----------
    left, right
        Samples, at least two draws each.
    bandwidth
        `h`, in units of the samples; `median_distance` of the reference.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500, 2))
    >>> bool(abs(mmd(x, y, 2.0).u) < 0.01), mmd(x, y + 1, 2.0).u > 0.05
    (True, True)
    """
    a, b, h = jnp.asarray(left), jnp.asarray(right), jnp.asarray(bandwidth)
    n, m = len(a), len(b)
    sums = total(gaussian_kernel, a, a, h), total(gaussian_kernel, b, b, h)
    cross = 2 * total(gaussian_kernel, a, b, h) / (n * m)
    # a draw with itself has 1
    unbiased = (sums[0] - n) / (n * (n - 1)) + (sums[1] - m) / (m * (m - 1)) - cross
    return Mmd(sums[0] / n**2 + sums[1] / m**2 - cross, unbiased)
