"""A run in one phrase: the only place where "converged" and "not converged" are worded."""

import math
from collections.abc import Iterable
from enum import Enum

from numpyro_score.diagnostics.finding import Finding
from numpyro_score.diagnostics.verdict import RHAT_NEAR, Verdict


class Status(Enum):
    """A run in one phrase; the value is what the page says.

    Examples
    --------
    >>> Status.APART.value, Status.APART.headline
    ('not converged', 'Do not use these draws.')
    """

    CONVERGED = "converged"
    DOUBTFUL = "look closer"
    SHORT = "run longer"
    APART = "not converged"
    BIASED = "off the target"
    APPROXIMATE = "independent draws"
    UNKNOWN = "cannot tell"
    FAILED = "failed"

    @property
    def css_class(self) -> str:
        """Class of the page's style sheet."""
        bad = (Status.APART, Status.BIASED, Status.FAILED)
        return "good" if self is Status.CONVERGED else "bad" if self in bad else "fair"

    @property
    def headline(self) -> str:
        """What it means for the use of the draws."""
        return {
            Status.CONVERGED: "No problems found.",
            Status.DOUBTFUL: "The chains agree, but another diagnostic found a problem.",
            Status.SHORT: "The chains nearly agree: run longer.",
            Status.APART: "Do not use these draws.",
            Status.BIASED: "These draws are not draws of the target.",
            Status.APPROXIMATE: "Independent draws of an approximate sampler: judge them by their "
            "error.",
            Status.UNKNOWN: "There are too few draws or chains to judge this run.",
            Status.FAILED: "There are no draws.",
        }[self]


def status_of(verdict: Verdict | None) -> Status:
    """A run in one phrase, by R-hat and effective draws alone.

    Parameters
    ----------
    verdict
        Of the run; None for one that failed.

    Examples
    --------
    >>> status_of(None).value
    'failed'
    """
    if verdict is None:
        return Status.FAILED
    if verdict.is_converged:
        return Status.CONVERGED
    if verdict.num_nonfinite or verdict.rhat_max > RHAT_NEAR or verdict.num_stuck_chains:
        return Status.APART
    if math.isnan(verdict.rhat_max):
        return Status.UNKNOWN
    return Status.SHORT


def overall(verdict: Verdict, of_target: Iterable[Finding], of_chains: Iterable[Finding]) -> Status:
    """A run in one phrase, by all diagnostics.

    Parameters
    ----------
    verdict
        Of the run.
    of_target
        Findings of the diagnostics that compare the draws with their target.
    of_chains
        Findings of all others.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> from numpyro_score.diagnostics.verdict import judge
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> overall(judge(az.from_dict({"posterior": {"x": x}})), [], []).value
    'converged'
    """
    plain = status_of(verdict)
    is_wrong = any(finding.is_flagged for finding in of_target)
    if verdict.is_approximate and verdict.is_independent:
        return Status.BIASED if is_wrong else Status.APPROXIMATE
    if plain is not Status.CONVERGED:
        return plain
    if is_wrong:
        return Status.BIASED
    return Status.DOUBTFUL if any(finding.is_flagged for finding in of_chains) else plain
