"""Masses of modes, estimated from draws in them.

    log Z = E[log p] + sum_i log(sd_i) + const

as of a Gaussian with independent coordinates: good enough to tell modes that matter from those that
chains have yet to leave, and from tails, whose density is high at a point and low on average.
"""

import numpy as np
from jaxtyping import Bool, Float

from numpyro_score.run.density import Positions

MAX_LESS = 10.0
"""Largest difference of the log masses of modes that count, in no dimensions."""
MAX_LESS_EACH = 0.5
"""What each coordinate adds to it: about the error of an sd that is half or twice the right one."""


def log_mass(of: Positions) -> float:
    """Logarithm of the mass of a mode; -inf where draws do not vary in some coordinate."""
    with np.errstate(divide="ignore"):
        spread = np.log(of.points.std(axis=(0, 1))).sum()
    return float(of.logdensity.mean() + spread)


def is_comparable(
    masses: Float[np.ndarray, " mode"], largest: float, dim: int
) -> Bool[np.ndarray, " mode"]:
    """Whether modes have a mass that counts beside the largest; one that is not finite does not.

    Parameters
    ----------
    masses, largest
        Logarithms.
    dim
        Number of coordinates.

    Examples
    --------
    >>> is_comparable(np.array([-1.0, -12.0]), 0.0, 2).tolist()
    [True, False]
    """
    return np.isfinite(masses) & (masses >= largest - MAX_LESS - MAX_LESS_EACH * dim)
