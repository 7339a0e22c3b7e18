"""Whether the mean acceptance rate of a run is near the target of its warmup.

A rate far below the target means steps that are too long: the chains hardly move, and a short run
does not show what they miss. A rate far above it only lowers the effective sample size, so that its
limit is wider.
"""

import math
from collections.abc import Mapping
from typing import Any

import xarray as xr

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.wording import Words

MAX_BELOW = 0.1
"""How far the mean acceptance may be below its target."""

MAX_ABOVE = 0.2
"""How far it may be above."""

LOCAL = "local_accept_prob"
"""What a kernel that jumps besides its local steps records of its last local step."""


def tuned_acceptance(statistics: Mapping[Any, xr.DataArray]) -> xr.DataArray | None:
    """Acceptance of the steps that warmup tunes; None if none is recorded.

    Jumps have no target: they are accepted the more often the better.

    Parameters
    ----------
    statistics
        Sample statistics by name.

    Examples
    --------
    >>> rate = xr.DataArray([0.9])
    >>> tuned_acceptance({"acceptance_rate": rate, "local_accept_prob": rate - 0.4}).item()
    0.5
    >>> tuned_acceptance({}) is None
    True
    """
    return statistics.get(LOCAL, statistics.get("acceptance_rate"))


def missed_acceptance(rate: float, target: float) -> list[Finding]:
    """That the mean acceptance rate is far from its target, if it is.

    Parameters
    ----------
    rate
        Mean over chains and draws; NaN where it is not recorded.
    target
        What warmup tuned to; NaN where it tuned nothing.

    Examples
    --------
    >>> missed_acceptance(0.52, 0.574)
    []
    >>> missed_acceptance(0.05, 0.574)[0].code
    'acceptance_missed'
    """
    if math.isnan(rate) or math.isnan(target) or -MAX_BELOW <= rate - target <= MAX_ABOVE:
        return []
    return [Finding("acceptance_missed", Severity.WARNING, (), rate, target)]


def missed_words(found: Finding) -> Words:
    """The finding of `missed_acceptance` in words."""
    side, steps = ("below", "long") if found.value < found.limit else ("above", "short")
    return Words(
        f"The mean acceptance rate is {found.value:.2f}, far {side} its target {found.limit:.2f}: "
        f"steps are too {steps}.",
        "Run a longer warmup, with more chains.",
    )
