"""Findings in words: the one place where a finding becomes a sentence.

A diagnostic brings a wording for each of its codes; `Wordings` puts a finding and its wording
together. The same words stand in a result's attributes, on the page and in a warning.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from numpyro_score.diagnostics.finding import Finding, Severity, by_severity

CSS_CLASSES = {
    Severity.PROBLEM: "bad",
    Severity.WARNING: "fair",
    Severity.NOTE: "fair",
    Severity.OK: "good",
}
"""Severity -> class of the page's style sheet."""


class Words(NamedTuple):
    """A finding in words.

    Attributes
    ----------
    finding
        What is the case, in one sentence.
    advice
        What to do about it, or nothing.
    """

    finding: str
    advice: str = ""


Wording = Callable[[Finding], Words]
"""Words a finding of one code."""

Wordings = Mapping[str, Wording]
"""Code -> its wording."""


class Remark(NamedTuple):
    """A finding as the page shows it.

    Attributes
    ----------
    css_class
        "good", "fair" or "bad".
    finding
        What is the case.
    advice
        What to do about it, or nothing.
    """

    css_class: str
    finding: str
    advice: str = ""


def remark(finding: Finding, wordings: Wordings) -> Remark:
    """A finding in words.

    Parameters
    ----------
    finding
        What was found.
    wordings
        Wordings by code, that of the finding among them.

    Examples
    --------
    >>> remark(Finding("late", Severity.PROBLEM), {"late": lambda _: Words("It is late.")})
    Remark(css_class='bad', finding='It is late.', advice='')
    """
    return Remark(CSS_CLASSES[finding.severity], *wordings[finding.code](finding))


def remarks(findings: Iterable[Finding], wordings: Wordings) -> list[Remark]:
    """Findings in words, the most severe first.

    Parameters
    ----------
    findings, wordings
        As for `remark`.
    """
    return [remark(finding, wordings) for finding in by_severity(findings)]


def sentences(findings: Iterable[Finding], wordings: Wordings) -> list[str]:
    """What is wrong, one sentence for each finding that is flagged, in their order.

    Parameters
    ----------
    findings, wordings
        As for `remark`.
    """
    return [remark(finding, wordings).finding for finding in findings if finding.is_flagged]
