"""Ladders: the noise levels of annealed Langevin dynamics, and their choice from data.

Levels fall geometrically, `sigma_i = sigma_max gamma^-(i-1)` for i from 1 to L (Song and Ermon
2019, arXiv:1907.05600). From data (Song and Ermon 2020, arXiv:2006.09011): `sigma_max` is the
largest distance between two data points, so that a chain can move between any two (technique 1),
and the ratio `gamma` of two levels solves

    Phi(sqrt(2 d) (gamma - 1) + 3 gamma) - Phi(sqrt(2 d) (gamma - 1) - 3 gamma) = 0.5,

so that the noise of neighbouring levels overlaps in d dimensions (technique 2).
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
ROUNDING = 1e-9


class NoiseLadder(NamedTuple):
    """Noise levels that fall geometrically, and their ratio.

    Attributes
    ----------
    sigmas
        Levels `(num_levels,)`, falling.
    ratio
        `gamma`, the ratio of each level to the next.

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
    """Noise levels from `sigma_max` down to `sigma_min`, with a constant ratio.

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
    """The largest ratio of two noise levels that still overlap in `dim` dimensions.

    At most 2: below about 20 dimensions any two levels overlap, and the criterion sets no limit.

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
        There are fewer than two points, or values that are not finite.
    """
    points = np.asarray(data, np.float64)
    if points.ndim < 2 or len(points) < 2:
        raise ValueError(
            f"data have shape {points.shape}; give at least two points, shape (num, *event)"
        )
    points = points.reshape(len(points), -1)
    if not np.isfinite(points).all():
        raise ValueError(f"data hold {np.sum(~np.isfinite(points))} values that are not finite")
    return points


def largest_distance(data: Float[np.ndarray | Array, "num *event"]) -> float:
    """The largest Euclidean distance between two points, exactly.

    Points that are too near the mean to be an end of the largest distance are left out first. The
    rest is compared in chunks of bounded memory.

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
    data = data - data.mean(axis=0)
    radius = np.linalg.norm(data, axis=1)
    start = data[np.argmax(radius)]
    at_least = float(np.linalg.norm(data - start, axis=1).max())
    # both ends of a longer distance are at least that far from the mean, up to rounding: of points
    # on a line the other end is exactly that far
    candidates = data[radius >= at_least * (1 - ROUNDING) - radius.max()]
    rows = max(1, DISTANCES_AT_ONCE // len(candidates))
    blocks = (candidates[i : i + rows] for i in range(0, len(candidates), rows))
    return max(at_least, *(float(cdist(block, candidates).max()) for block in blocks))


def ladder_from_data(
    data: Float[np.ndarray | Array, "num *event"],
    *,
    sigma_min: float | None = None,
    num_levels: int | None = None,
) -> NoiseLadder:
    """Noise levels for data, from its spread and dimension.

    Parameters
    ----------
    data
        `(num, *event)`, at least two points that differ.
    sigma_min
        The last level; by default a hundredth of the root mean square of the coordinates' sds.
    num_levels
        L; by default the smallest number with ratios of at most `ladder_ratio`.

    Raises
    ------
    ValueError
        The data are fewer than two points, not finite or all equal, or `sigma_min` is not below
        their largest distance.

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
        raise ValueError("all data points are equal; give data that differ")
    if sigma_min is None:
        sigma_min = SMALLEST_SHARE * float(np.sqrt(points.var(axis=0).mean()))
    _check_ends(sigma_max, sigma_min)
    if num_levels is None:
        steps = math.log(sigma_max / sigma_min) / math.log(ladder_ratio(points.shape[1]))
        num_levels = max(2, math.ceil(steps) + 1)
    sigmas = geometric_ladder(sigma_max, sigma_min, num_levels)
    return NoiseLadder(sigmas, float(sigmas[0] / sigmas[1]))
