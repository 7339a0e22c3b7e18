"""Sliced distances: two samples compared along many lines.

Along a line both distances are exact and cost a sort:

* the 2-Wasserstein distance of two distribution functions, `W_2^2 = int_0^1 (F^-1(u) - G^-1(u))^2
  du`; the root of its mean square over lines is the sliced Wasserstein distance (Bonneel, Rabin,
  Peyré and Pfister 2015, doi:10.1007/s10851-014-0506-3);
* Kolmogorov and Smirnov's `sup |F - G|`; its mean over lines is the sliced Kolmogorov-Smirnov
  distance (Grenioux, Durmus, Moulines and Gabrié 2023, arXiv:2302.04763).

Samples are given by their places along the lines, `points @ lines(dim, rng)`.
"""

import numpy as np
from jaxtyping import Float

NUM_LINES = 64
"""Lines through the origin, of directions uniform on the sphere."""

Along = Float[np.ndarray, "draws lines"]
"""Places of draws along lines; the two samples may be of different sizes."""


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


def wasserstein_along(
    left: Float[np.ndarray, "a lines"], right: Float[np.ndarray, "b lines"]
) -> float:
    """Root of the mean over lines of the squared 2-Wasserstein distance.

    Parameters
    ----------
    left, right
        Places along the lines.

    Returns
    -------
    The distance, in units of the places.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 1))
    >>> round(wasserstein_along(x, x + 2), 6)
    2.0
    """
    # a line is a row: sorts of neighbours in memory
    a, b = (np.sort(np.ascontiguousarray(v.T), axis=1) for v in (left, right))
    if a.shape == b.shape:
        return float(np.sqrt(np.mean((a - b) ** 2)))
    n, m = a.shape[1], b.shape[1]
    # between these levels both quantile functions are constant
    edges = np.union1d(np.arange(n + 1) / n, np.arange(m + 1) / m)
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    difference = a[:, (middle * n).astype(int)] - b[:, (middle * m).astype(int)]
    return float(np.sqrt(np.mean(difference**2 @ width)))


def kolmogorov_smirnov_along(
    left: Float[np.ndarray, "a lines"], right: Float[np.ndarray, "b lines"]
) -> float:
    """Mean over lines of the Kolmogorov-Smirnov distance, between 0 and 1.

    Parameters
    ----------
    left, right
        Places along the lines.

    Examples
    --------
    >>> x = np.arange(4.0)[:, None]
    >>> kolmogorov_smirnov_along(x, x + 1)
    0.25
    """
    both = np.ascontiguousarray(np.concatenate([left, right]).T)
    order = np.argsort(both, axis=1)
    step = np.where(order < len(left), 1 / len(left), -1 / len(right))
    difference = np.abs(np.cumsum(step, axis=1))
    # after the last of draws that are alike
    ranked = np.take_along_axis(both, order, axis=1)
    difference[:, :-1][np.diff(ranked, axis=1) == 0] = 0.0
    return float(np.mean(difference.max(axis=1)))


def between_halves(
    pool: Float[np.ndarray, "draws lines"], num_splits: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " splits"], Float[np.ndarray, " splits"]]:
    """Both distances between the halves of a sample, for some ways to cut it in two at random.

    The sample is sorted once, and only what belongs to which half changes.

    Parameters
    ----------
    pool
        Places along the lines, of an even number of draws.
    num_splits
        How many ways.
    rng
        Of the cuts.

    Returns
    -------
    Wasserstein and Kolmogorov-Smirnov distances.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> wasserstein, ks = between_halves(rng.normal(size=(200, 1)), 50, rng)
    >>> bool(0.05 < wasserstein.mean() < 0.3), bool(0.05 < ks.mean() < 0.2)
    (True, True)
    """
    num_draws, num_lines = pool.shape
    order = np.argsort(np.ascontiguousarray(pool.T), axis=1)
    ranked = np.take_along_axis(pool.T, order, axis=1)
    is_tied = np.zeros(ranked.shape, bool)
    is_tied[:, :-1] = np.diff(ranked, axis=1) == 0
    has_ties = bool(is_tied.any())
    is_first = np.arange(num_draws) < num_draws // 2
    wasserstein, ks = np.zeros(num_splits), np.zeros(num_splits)
    for split in range(num_splits):
        side = rng.permutation(is_first)[order]
        a, b = (ranked[half].reshape(num_lines, -1) for half in (side, ~side))
        wasserstein[split] = np.sqrt(np.mean((a - b) ** 2))
        # twice how many of the first half come before less how many of both do
        excess = np.abs(2 * np.cumsum(side, axis=1, dtype=np.int32) - np.arange(1, num_draws + 1))
        if has_ties:
            excess[is_tied] = 0
        ks[split] = np.mean(excess.max(axis=1)) / (num_draws // 2)
    return wasserstein, ks
