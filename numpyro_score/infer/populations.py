"""What populations of particles are worth, told from how much they differ.

Populations that were annealed apart have means that differ as those of independent draws would, of
which there are fewer than particles. Where the reference covers the target it is half as many or
more. Where some modes lie in its tails, a few ancestors decide what such a mode weighs: the means
of populations differ by far more, and on average these modes weigh too little.
"""

import numpy as np
from jaxtyping import Float

FALSE_ALARM = 0.01
"""Probability of a false alarm, of all coordinates together."""

LEAST_WORTH = 0.05
"""Share of the particles that a population is worth at least. On five targets with several modes
and on a hierarchical model it was .08 to 1.1; .009 to .014 where modes were in the tails."""

MIN_POPULATIONS = 4
"""Fewer do not tell how much populations differ."""


def most_worth(particles: Float[np.ndarray, "chain row dim"]) -> float:
    """Independent draws that a population is worth at most, in the coordinate that differs most.

    Parameters
    ----------
    particles
        A population of every chain. Populations that are not finite are left out.

    Returns
    -------
    float
        Upper limit of confidence `1 - FALSE_ALARM`; infinite if there are too few populations.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 500, 3))
    >>> most_worth(x) > 500
    True
    >>> shift = np.random.default_rng(1).normal(size=(20, 1, 3)) / 4  # as of 16 draws
    >>> 16 < most_worth(x + shift) < 50
    True
    """
    # takes long to import
    from scipy.stats import chi2

    finite = particles[np.isfinite(particles).all(axis=(1, 2))].astype(np.float64)
    num, _, dim = finite.shape
    if num < MIN_POPULATIONS or dim == 0:
        return np.inf
    within = finite.var(axis=1).mean(axis=0)
    between = finite.mean(axis=1).var(axis=0, ddof=1)
    varies = between > 0
    if not varies.any():
        return np.inf
    quantile = chi2.isf(FALSE_ALARM / dim, num - 1) / (num - 1)
    return float(np.min(within[varies] / between[varies]) * quantile)


def disagreement(particles: Float[np.ndarray, "chain row dim"]) -> str | None:
    """What a user has to know of populations that differ far too much; None if they do not.

    Parameters
    ----------
    particles
        A population of every chain.
    """
    worth, num_particles = most_worth(particles), particles.shape[1]
    if worth >= LEAST_WORTH * num_particles:
        return None
    return (
        f"the chains' populations differ so much that {num_particles} particles are worth at most "
        f"{max(round(worth), 1)} independent draws. What lies in the tails of the reference, such "
        "as a distant mode, may be missing or weigh too little. Give a wider reference=, or more "
        "particles (num_particles=), until the populations agree."
    )
