"""Ladders: the noise levels of annealed Langevin dynamics, and how to pick them from data.

Levels fall geometrically, `sigma_i = sigma_max gamma^-(i-1)` for i from 1 to L (Song and Ermon
2019, arXiv:1907.05600). From data (Song and Ermon 2020, arXiv:2006.09011): `sigma_max` is the
largest distance between two data points, so that a chain can cross from any to any (technique 1),
and the ratio `gamma` of two levels solves

    Phi(sqrt(2 d) (gamma - 1) + 3 gamma) - Phi(sqrt(2 d) (gamma - 1) - 3 gamma) = 0.5,

so that in d dimensions the shells of noise at neighbouring levels overlap (technique 2).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole

OVERLAP = 0.5
SMALLEST_SHARE = 0.01
LARGEST_RATIO = 2.0
DISTANCES_AT_ONCE = 10_000_000


class NoiseLadder(NamedTuple):
    """Noise levels and where they came from.

    Attributes
    ----------
    sigmas
        Levels `(num_levels,)`, falling.
    ratio
        `gamma`, each level over the next.

    Examples
    --------
    >>> import numpy as np
    >>> ladder = ladder_from_data(np.random.default_rng(0).normal(size=(100, 2)))
    >>> bool((ladder.sigmas[:-1] > ladder.sigmas[1:]).all()), ladder.ratio > 1
    (True, True)
    """

    sigmas: Float[np.ndarray, " num_levels"]
    ratio: float


def _check_ends(sigma_max: float, sigma_min: float) -> None:
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(
            f"a ladder from sigma_max = {sigma_max:g} down to sigma_min = {sigma_min:g}; "
            "0 < sigma_min < sigma_max is needed"
        )


def geometric_ladder(
    sigma_max: float, sigma_min: float, num_levels: int
) -> Float[np.ndarray, " num_levels"]:
    """Noise levels from `sigma_max` down to `sigma_min`, each the same factor below the last.

    Parameters
    ----------
    sigma_max, sigma_min
        First and last level, units of the data.
    num_levels
        L, at least 2.

    Raises
    ------
    ValueError
        Unless 0 < sigma_min < sigma_max and there are at least two levels.

    Examples
    --------
    >>> geometric_ladder(10.0, 0.1, 3).round(6).tolist()
    [10.0, 1.0, 0.1]
    """
    _check_ends(sigma_max, sigma_min)
    check_whole("num_levels", num_levels, 2, hint="a ladder has at least 2 levels")
    return np.geomspace(sigma_max, sigma_min, num_levels)


def ladder_ratio(dim: int) -> float:
    """The largest factor between levels at which their noise still overlaps in `dim` dimensions.

    At most 2: below some 20 dimensions noise of any two levels overlaps, and says nothing.

    Parameters
    ----------
    dim
        Dimensions, at least 1.

    Raises
    ------
    ValueError
        If `dim` is less than 1.

    Examples
    --------
    >>> round(ladder_ratio(3 * 32 * 32), 3)
    1.04
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    check_whole("dim", dim)
    root = math.sqrt(2 * dim)

    def excess(gamma: float) -> float:
        middle, half = root * (gamma - 1), 3 * gamma
        return float(ndtr(middle + half) - ndtr(middle - half)) - OVERLAP

    return LARGEST_RATIO if excess(LARGEST_RATIO) > 0 else float(brentq(excess, 1.0, LARGEST_RATIO))


def _as_rows(data: Any) -> Float[np.ndarray, "num dim"]:
    """Points of any shape as rows of float64.

    Raises
    ------
    ValueError
        If there are fewer than two, or values that are not finite.
    """
    points = np.asarray(data, np.float64)
    if points.ndim < 2 or len(points) < 2:
        raise ValueError(
            f"data have shape {points.shape}; at least two points are needed, shape (num, *event)"
        )
    points = points.reshape(len(points), -1)
    if not np.isfinite(points).all():
        raise ValueError(f"data hold {np.sum(~np.isfinite(points))} values that are not finite")
    return points


def largest_distance(data: Float[np.ndarray | Array, "num *event"]) -> float:
    """The largest Euclidean distance between two points, exactly.

    Points too near the centre to be an end of it are left out first, the rest goes through in
    chunks of bounded memory.

    Parameters
    ----------
    data
        `(num, *event)`; points of more than one axis, such as images, are flattened.

    Raises
    ------
    ValueError
        If there are fewer than two points, or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> largest_distance(np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]]))
    5.0
    """
    from scipy.spatial.distance import cdist

    data = _as_rows(data)
    radius = np.linalg.norm(data - data.mean(axis=0), axis=1)
    start = data[np.argmax(radius)]
    at_least = np.linalg.norm(data - start, axis=1).max()
    # both ends of a longer one are at least this far out
    candidates = data[radius >= at_least - radius.max()]
    rows = max(1, DISTANCES_AT_ONCE // len(candidates))
    blocks = (candidates[i : i + rows] for i in range(0, len(candidates), rows))
    return float(max(cdist(block, candidates).max() for block in blocks))


def ladder_from_data(
    data: Float[np.ndarray | Array, "num *event"],
    *,
    sigma_min: float | None = None,
    num_levels: int | None = None,
) -> NoiseLadder:
    """Noise levels for data: ends and number from its size, spread and dimension.

    Parameters
    ----------
    data
        `(num, *event)`, at least two points that differ.
    sigma_min
        The last level; by default a hundredth of the root mean square of the coordinates' sds.
    num_levels
        L; by default as many as keep neighbours within `ladder_ratio` of the dimension.

    Raises
    ------
    ValueError
        If data are too few, not finite or all equal, or `sigma_min` is not below their spread.

    Examples
    --------
    >>> import numpy as np
    >>> ladder = ladder_from_data(np.random.default_rng(0).normal(size=(1000, 100)), sigma_min=0.1)
    >>> len(ladder.sigmas), round(float(ladder.sigmas[0]), 1), float(ladder.sigmas[-1])
    (24, 19.0, 0.1)
    """
    points = _as_rows(data)
    sigma_max = largest_distance(points)
    if sigma_max == 0:
        raise ValueError("all data points are equal: there is no spread for noise to cover")
    if sigma_min is None:
        sigma_min = SMALLEST_SHARE * float(np.sqrt(points.var(axis=0).mean()))
    _check_ends(sigma_max, sigma_min)
    if num_levels is None:
        steps = math.log(sigma_max / sigma_min) / math.log(ladder_ratio(points.shape[1]))
        num_levels = max(2, math.ceil(steps) + 1)
    sigmas = geometric_ladder(sigma_max, sigma_min, num_levels)
    return NoiseLadder(sigmas, float(sigmas[0] / sigmas[1]))
