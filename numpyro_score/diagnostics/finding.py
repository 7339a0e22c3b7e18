"""What diagnostics find, as data: no sentence here, and no code reads a sentence.

A finding is worded once, by the wording that belongs to its code (`wording.py`), for the terminal,
the page and the warning alike.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, final


class Severity(StrEnum):
    """How much a finding matters, the most severe first.

    Examples
    --------
    >>> [severity.value for severity in Severity]
    ['problem', 'warning', 'note', 'ok']
    """

    PROBLEM = "problem"
    """The draws should not be used as they are."""

    WARNING = "warning"
    """Something is wrong that may or may not matter."""

    NOTE = "note"
    """Nothing is wrong, but a reader has to know it."""

    OK = "ok"
    """This was checked, and no problem was found."""


FLAGGED = (Severity.PROBLEM, Severity.WARNING)
"""Severities that flag a diagnostic."""


@final
@dataclass(frozen=True)
class Finding:
    """One thing that a diagnostic found.

    Attributes
    ----------
    code
        What was found: the key of its wording.
    severity
        How much it matters.
    parameters
        Labels of what it is about: parameters, chains, modes or measures.
    value
        The number that decided, NaN where none did.
    limit
        What the number was compared with, NaN where there is no limit.
    details
        Further numbers and names that the wording mentions.

    Examples
    --------
    >>> Finding("rhat", Severity.PROBLEM, ("tau",), 1.6, 1.01).is_flagged
    True
    """

    code: str
    severity: Severity
    parameters: tuple[str, ...] = ()
    value: float | int = math.nan
    limit: float | int = math.nan
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_flagged(self) -> bool:
        """Whether something is wrong."""
        return self.severity in FLAGGED


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Findings with the most severe first, otherwise in their order.

    Examples
    --------
    >>> found = [Finding("ess", Severity.OK), Finding("rhat", Severity.PROBLEM)]
    >>> [finding.code for finding in by_severity(found)]
    ['rhat', 'ess']
    """
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))
