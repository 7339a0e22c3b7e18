"""The log evidence from a proposal's weights and from two annealings, and whether they agree.

Importance sampling has an error that its own draws show only where they reach: with a mode missing
from the proposal, the mean weight is stable and wrong. Annealed estimates (Neal 2001,
doi:10.1023/A:1008923215028; Del Moral, Doucet and Jasra 2006,
doi:10.1111/j.1467-9868.2006.00553.x) come from other particles, and a difference between the two is
the error that neither shows. The part of it that exceeds two standard errors is added to the
reported error, as the variance between studies is in a random-effects analysis (DerSimonian and
Laird 1986, doi:10.1016/0197-2456(86)90046-2).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from numpyro_score.learned.importance import Quality

LIMIT = 3.0
"""Standard errors that estimates may be apart."""

EXPECTED = 2.0
"""Standard errors up to which a difference adds nothing to the reported error."""

ROUNDING = 0.02
"""Difference that is never held against them."""


class Evidence(NamedTuple):
    """The log of the integral of the target's density.

    Attributes
    ----------
    value
        The estimate with the smaller error.
    error
        Its standard error, with what the estimates differ by beyond their own errors; all of the
        difference where they do not agree.
    by_proposal, by_annealing
        Pairs of estimate and standard error; None where no regions were annealed.
    is_consistent
        Whether they agree.
    at_least
        Estimate and standard error of the annealing from the reference, which may miss modes; -inf
        where it did not arrive.

    Examples
    --------
    >>> from numpyro_score.learned.importance import quality
    >>> found = quality(np.log([1.0, 3.0] * 5000))
    >>> combine(found, np.array([0.69, 0.70]), np.array([0.02, 0.02])).is_consistent
    True
    """

    value: float
    error: float
    by_proposal: tuple[float, float]
    by_annealing: tuple[float, float] | None
    is_consistent: bool
    at_least: tuple[float, float] = (-np.inf, 0.0)


def combine(
    found: Quality,
    log_evidences: Float[np.ndarray, " num"],
    errors: Float[np.ndarray, " num"],
    at_least: tuple[float, float] = (-np.inf, 0.0),
) -> Evidence:
    """The estimate of a proposal together with those of independent annealings.

    Parameters
    ----------
    found
        Of the proposal.
    log_evidences, errors
        Of the annealings, with their standard errors; empty where there were none.
    at_least
        An estimate with its standard error that may miss a part of the target, so that only a
        larger one disagrees: of the annealing from the reference.
    """
    num = len(log_evidences)
    proposed = found.log_evidence, found.log_evidence_error
    if num == 0:
        missed = at_least[0] - proposed[0]
        is_consistent = not missed > LIMIT * np.hypot(proposed[1], at_least[1]) + ROUNDING
        error = proposed[1] if is_consistent else max(missed, proposed[1])
        return Evidence(proposed[0], error, proposed, None, bool(is_consistent), at_least)
    annealed = float(np.mean(log_evidences))
    own = float(np.sqrt(np.mean(errors**2) / num))
    # two estimates say little of their spread; the larger of what they and their weights say counts
    spread = float(np.std(log_evidences, ddof=1)) / np.sqrt(num) if num > 1 else 0.0
    annealed_error = max(own, spread)
    gap = abs(proposed[0] - annealed)
    expected = float(np.hypot(proposed[1], annealed_error))
    halves = float(np.ptp(log_evidences))
    value, error = min((proposed, (annealed, annealed_error)), key=lambda pair: pair[1])
    missed = at_least[0] - value
    is_consistent = bool(
        np.isfinite(gap)
        and gap <= LIMIT * expected + ROUNDING
        and halves <= LIMIT * np.sqrt(2) * float(np.sqrt(np.mean(errors**2))) + ROUNDING
        and not missed > LIMIT * np.hypot(error, at_least[1]) + ROUNDING
    )
    between = np.sqrt(max(gap**2 - (EXPECTED * expected) ** 2, 0.0))
    error = float(np.hypot(error, between))
    if not is_consistent:
        error = max(gap, halves, missed, error) if np.isfinite(gap) else float("inf")
    return Evidence(value, error, proposed, (annealed, annealed_error), is_consistent, at_least)
