"""Expectation-maximisation for weighted points, stopped early by points held out.

Steps are those of Dempster, Laird and Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x. A single
step for each set of draws, as in population Monte Carlo, converges slowly where components overlap
or a mode is curved. Steps to convergence overfit where points are few for the dimension. The
log-likelihood of points held out decides when to stop.
"""

import numpy as np
from jaxtyping import Float

from numpyro_score.learned.components import Components, refit

MAX_STEPS = 20
"""Steps at most for one set of points: the next set is drawn from the mixture that they give."""

EVERY = 4
"""One point in this many is held out."""

LEAST_RISE = 1e-4
"""Rise of the mean log density at the points held out, in nats, below which steps end."""


def fit_components(
    found: Components,
    x: Float[np.ndarray, "num dim"],
    weights: Float[np.ndarray, " num"],
    fewest: int,
) -> Components:
    """Steps of expectation-maximisation while the log-likelihood of points held out rises.

    The first step is always taken.

    Parameters
    ----------
    found
        The mixture to start from.
    x, weights, fewest
        As of `refit`.
    """
    is_held = np.arange(len(x)) % EVERY == 0
    held, kept = (np.where(part, weights, 0.0) for part in (is_held, ~is_held))
    if not (held.sum() > 0 and kept.sum() > 0):
        return found
    held, kept = held / held.sum(), kept / kept.sum()
    best, last = found, -np.inf
    log_prob, members = found.share_out(x)
    for _ in range(MAX_STEPS):
        found = refit(found, x, kept, members, fewest)
        log_prob, members = found.share_out(x)
        score = float(held @ log_prob)
        if score < last + LEAST_RISE:
            break
        best, last = found, score
    return best
