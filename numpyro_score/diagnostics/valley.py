"""Whether there is a valley between two peaks of the density of draws on a line.

With `c(x)` the number of draws within `h` of `x`, a valley at `v` is as deep as

    z(v) = (m - c(v)) / sqrt(m + c(v)),    m = min(max_{x < v - h} c(x), max_{x > v + h} c(x)):

the lower of the peaks on its two sides less the valley, in standard errors of the difference of two
Poisson counts. A valley counts if it holds at most half of the lower peak and `z` is more than
chance makes of it. Unlike the dip (Hartigan and Hartigan 1985, doi:10.1214/aos/1176346577), which
asks for a share of all draws, this detects a mode of few draws that lies apart.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import uniform_filter1d

LIMIT = 5.0
"""Depth of a valley, in standard errors, from which on it counts."""

DEEPEST = 0.5
"""Draws in a valley that counts, as a part of those at the lower peak."""

TAIL = 0.001
"""Share of the draws on either side that is left out: of so few no peak is made."""

SCALES = (3.0, 1.0, 0.3)
"""Windows that are tried, in units of Silverman's bandwidth."""

BINS_PER_WINDOW = 4
MAX_BINS = 4096


def _bandwidth(x: Float[np.ndarray, " draws"]) -> float:
    """Silverman's rule, for density estimates (1986, eq. 3.31)."""
    low, high = np.quantile(x, (0.25, 0.75))
    spread = min(x.std(), (high - low) / 1.34) or x.std()
    return float(0.9 * spread * x.size ** (-0.2))


def _depth(x: Float[np.ndarray, " draws"], h: float) -> float:
    low, high = np.quantile(x, (TAIL, 1 - TAIL))
    # a margin of empty windows on either side
    num_bins = int(min(np.ceil((high - low) / h * BINS_PER_WINDOW / 2) + 1, MAX_BINS))
    counts, edges = np.histogram(x, bins=max(num_bins, 3), range=(low, high))
    half = max(round(h / (edges[1] - edges[0])), 1)
    width = 2 * half + 1
    near = uniform_filter1d(counts.astype(float), width, mode="constant") * width
    left, right = np.maximum.accumulate(near), np.maximum.accumulate(near[::-1])[::-1]
    if near.size <= 2 * half:
        return 0.0
    valley = near[half:-half]
    lower_peak = np.minimum(left[: valley.size], right[2 * half :])
    counts_as_one = valley <= DEEPEST * lower_peak
    with np.errstate(all="ignore"):
        z = (lower_peak - valley) / np.sqrt(lower_peak + valley)
    return float(np.max(z, where=counts_as_one & (lower_peak > 0), initial=0.0))


def valley(x: Float[np.ndarray, " draws"]) -> float:
    """Depth of the deepest valley in the density of draws, in standard errors.

    Parameters
    ----------
    x
        Finite draws.

    Returns
    -------
    0 if there is none; more than `LIMIT` if independent draws have two modes.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=4000)
    >>> valley(x) > LIMIT, valley(np.where(np.arange(4000) < 200, 6 + x, x)) > LIMIT
    (False, True)
    """
    h = _bandwidth(x)
    return max(_depth(x, scale * h) for scale in SCALES) if h > 0 else 0.0
