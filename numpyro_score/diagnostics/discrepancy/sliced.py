"""Sliced distances: two samples compared along many lines.

Along a line both distances are exact and cost a sort:

* the 2-Wasserstein distance of two distribution functions, `W_2^2 = int_0^1 (F^-1(u) - G^-1(u))^2
  du`; the root of its mean square over lines is the sliced Wasserstein distance (Bonneel, Rabin,
  Peyré and Pfister 2015, doi:10.1007/s10851-014-0506-3);
* Kolmogorov and Smirnov's `sup |F - G|`; its mean over lines is the sliced Kolmogorov-Smirnov
  distance (Grenioux, Durmus, Moulines and Gabrié 2023, arXiv:2302.04763).
"""

import numpy as np
from jaxtyping import Float

NUM_LINES = 100
"""Lines through the origin, of directions uniform on the sphere."""


def lines(dim: int, rng: np.random.Generator) -> Float[np.ndarray, "dim lines"]:
    """Directions, uniform on the sphere; the one there is in one dimension.

    Parameters
    ----------
    dim
        Dimension.
    rng
        Of the directions.

    Examples
    --------
    >>> lines(1, np.random.default_rng(0)).tolist()
    [[1.0]]
    """
    if dim == 1:
        return np.ones((1, 1))
    directions = rng.normal(size=(dim, NUM_LINES))
    return directions / np.linalg.norm(directions, axis=0)


def sliced_wasserstein(
    left: Float[np.ndarray, "a dim"],
    right: Float[np.ndarray, "b dim"],
    directions: Float[np.ndarray, "dim lines"],
) -> float:
    """Sliced 2-Wasserstein distance between two samples.

    Parameters
    ----------
    left, right
        Samples.
    directions
        As `lines` returns them.

    Returns
    -------
    The distance, in units of the samples.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 1))
    >>> round(sliced_wasserstein(x, x + 2, np.ones((1, 1))), 6)
    2.0
    """
    a, b = np.sort(left @ directions, axis=0), np.sort(right @ directions, axis=0)
    # between these levels both quantile functions are constant
    level = np.union1d(np.arange(1, len(a)) / len(a), np.arange(1, len(b)) / len(b))
    edges = np.concatenate([[0.0], level, [1.0]])
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    difference = a[(middle * len(a)).astype(int)] - b[(middle * len(b)).astype(int)]
    return float(np.sqrt(np.mean(width @ difference**2)))


def sliced_kolmogorov_smirnov(
    left: Float[np.ndarray, "a dim"],
    right: Float[np.ndarray, "b dim"],
    directions: Float[np.ndarray, "dim lines"],
) -> float:
    """Sliced Kolmogorov-Smirnov distance between two samples, between 0 and 1.

    Parameters
    ----------
    left, right
        Samples.
    directions
        As `lines` returns them.

    Examples
    --------
    >>> x = np.arange(4.0)[:, None]
    >>> sliced_kolmogorov_smirnov(x, x + 1, np.ones((1, 1)))
    0.25
    """
    distances = []
    for a, b in zip((left @ directions).T, (right @ directions).T, strict=True):
        both = np.concatenate([a, b])
        order = np.argsort(both, kind="stable")
        step = np.where(order < len(a), 1 / len(a), -1 / len(b))
        # after the last of draws that are alike
        is_last = np.concatenate([np.diff(both[order]) > 0, [True]])
        distances.append(np.abs(np.cumsum(step))[is_last].max())
    return float(np.mean(distances))
