"""Whether the mean acceptance rate of a run is near the target of its warmup.

A rate far below the target means steps that are too long: the chains hardly move, and a short run
does not show what they miss. A rate far above it only lowers the effective sample size, so that its
limit is wider.
"""

import math

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.wording import Words

MAX_BELOW = 0.1
"""How far the mean acceptance may be below its target."""

MAX_ABOVE = 0.2
"""How far it may be above."""


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
