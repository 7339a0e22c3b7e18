"""Whether chains from dispersed starts found modes that the chains of a run have not visited.

`sample` looks for them at the end of a run whose kernel it chose (`run/elsewhere.py`), and records
how many of them ended in such a region.
"""

from collections.abc import Mapping
from typing import Any

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.wording import Wordings, Words

FOUND, LOOKED = "num_elsewhere", "num_dispersed"
"""Attributes of a run: how many chains ended where it has no draws, and how many were run."""

MIN_FOUND = 2
"""Chains that have to end in such a region before anything is said: one may be an outlier."""


def elsewhere(attrs: Mapping[Any, Any]) -> list[Finding]:
    """That there are modes which no chain has visited, if some were found.

    Parameters
    ----------
    attrs
        Attributes of the run.

    Examples
    --------
    >>> elsewhere({"num_elsewhere": 1, "num_dispersed": 32}), elsewhere({})
    ([], [])
    >>> elsewhere({"num_elsewhere": 7, "num_dispersed": 32})[0].code
    'elsewhere'
    """
    found = int(attrs.get(FOUND, 0))
    if found < MIN_FOUND:
        return []
    details = {"num": int(attrs[LOOKED])}
    return [Finding("elsewhere", Severity.PROBLEM, (), found, MIN_FOUND, details)]


def _words(found: Finding) -> Words:
    return Words(
        f"{found.value:.0f} of {found.details['num']} short chains from dispersed starts ended "
        "where no chain of the run has been, at log densities as high as those of its draws: there "
        "are modes that the run lacks. Their weights are not known.",
        "Run GlobalLocal, which explores first (if this was GlobalLocal: with a larger "
        "num_particles), or ParallelTempering.",
    )


WORDINGS: Wordings = {"elsewhere": _words}
"""Code -> its wording."""
