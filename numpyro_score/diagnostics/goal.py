"""Whether a run ended without its goal (`until=`), or was bound to its first kernel without one."""

import math
from collections.abc import Mapping, Set
from typing import Any

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import count, rhat
from numpyro_score.diagnostics.verdict import RHAT_MAX
from numpyro_score.diagnostics.wording import Words


def missed_goal(attrs: Mapping[Any, Any]) -> list[Finding]:
    """That a run ended at its largest number of draws, without its goal; nothing of other runs.

    Parameters
    ----------
    attrs
        Attributes of the run: `until`, `until_reached`, and R-hat and the smallest effective sample
        size at the end, `until_rhat` and `until_ess`.

    Examples
    --------
    >>> missed_goal({"until": 400, "until_reached": 1})
    []
    >>> missed_goal({"until": 400, "until_reached": 0, "complete": 1})[0].code
    'goal_missed'
    """
    if attrs.get("until_reached", 1) or not attrs.get("complete", 1):
        return []
    ess = float(attrs.get("until_ess", math.nan))
    details = {"rhat": float(attrs.get("until_rhat", math.nan))}
    return [Finding("goal_missed", Severity.WARNING, (), ess, float(attrs["until"]), details)]


def goal_words(found: Finding) -> Words:
    """The finding of `missed_goal` in words."""
    worst = found.details["rhat"]
    of_chains = "" if math.isnan(worst) else f"R-hat {rhat(worst)} (limit {RHAT_MAX}), "
    return Words(
        f"The run ended without its goal: {of_chains}effective sample size {count(found.value)} of "
        f"{count(found.limit)}.",
        "Raise num_samples.",
    )


BOUND = "kernel_is_bound"
"""Attribute of a run that could not restart with another kernel than the one chosen first."""

HELPED = {"rhat", "halves", "apart", "frozen", "all_frozen"}
"""Codes of what another kernel may help with."""


def kept_first_choice(attrs: Mapping[Any, Any], codes: Set[str]) -> list[Finding]:
    """That a run was bound to the kernel chosen first, if another one may help.

    Parameters
    ----------
    attrs
        Attributes of the run.
    codes
        Of what else was found.

    Examples
    --------
    >>> attrs = {"kernel_is_bound": 1}
    >>> kept_first_choice(attrs, {"rhat"})[0].code, kept_first_choice(attrs, set())
    ('first_choice', [])
    """
    is_told = attrs.get(BOUND, 0) and codes & HELPED
    return [Finding("first_choice", Severity.NOTE)] if is_told else []


def first_choice_words(found: Finding) -> Words:
    """The finding of `kept_first_choice` in words."""
    del found
    return Words(
        "A fixed number of draws, a budget or a Zarr store bound the run to the kernel chosen "
        "first.",
        "Leave it out, or give an effective sample size as until=: then sample restarts with "
        "another kernel where the first does not suffice.",
    )
