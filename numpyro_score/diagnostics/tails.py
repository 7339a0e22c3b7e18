"""Whether the tails of the draws are too heavy for a mean: Pareto k of either tail.

The largest draws of a distribution follow a generalised Pareto distribution, whose shape `k` says
which moments there are: no variance from `k = 1/2` on, and no mean from `k = 1` on, as of a Cauchy
distribution. Above `k = .7` averages of any practicable number of draws do not settle, and their
Monte Carlo errors are too small (Vehtari et al. 2024, arXiv:1507.02646, sections 3 and 6). R-hat
and effective sample sizes are of ranks, and do not show it.

The fit is arviz-stats'. Of the largest `M` draws, `k` has the standard error `(1 + k) / sqrt(M)`,
with autocorrelated draws counted by their effective number; a parameter is flagged where `k` less
that error is above .7. How often that finds Cauchy draws, and none of those that have a mean, is
in `docs/diagnostics.md`.
"""

import math
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Float

from numpyro_score.diagnostics.draws import FlatDraws
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed, number
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.rhat_ess import quiet
from numpyro_score.diagnostics.section import NO_COLUMNS
from numpyro_score.diagnostics.status import Status, status_of
from numpyro_score.diagnostics.verdict import INDEPENDENT, Verdict
from numpyro_score.diagnostics.wording import Wordings, Words

LARGEST_K = 0.7
"""Pareto k above which a mean cannot be estimated (Vehtari et al. 2024)."""

NO_MEAN = 1.0
"""Pareto k from which on there is no mean."""

MIN_DRAWS = 225
"""Effective draws below which tails have too few draws to be fitted."""

FAR = 10.0
"""Distance of the farthest draw from the median, in interquartile ranges, up to which tails are
light: of 1,000 draws of a Cauchy distribution it is about 460, of a normal one 2.5."""


class Tail(NamedTuple):
    """Pareto k of the heavier tail, and its standard error; NaN where it is not computed."""

    k: float
    error: float

    @property
    def is_heavy(self) -> bool:
        """Whether k is above its limit by more than its standard error."""
        return self.k - self.error > LARGEST_K


LIGHT = Tail(math.nan, math.nan)
"""Of tails that need no fit, or cannot have one."""


def tail_of(values: Float[np.ndarray, "chain draw"], *, is_independent: bool = False) -> Tail:
    """Pareto k of the heavier tail of the draws of a parameter.

    Parameters
    ----------
    values
        Finite draws.
    is_independent
        Whether they do not depend on each other.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tail_of(rng.standard_cauchy((4, 1000))).is_heavy
    True
    >>> tail_of(rng.standard_t(5, (4, 1000))).is_heavy
    False
    """
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    if not np.abs(values - middle).max() > FAR * (high - low) > 0:
        return LIGHT
    ratio = 1.0
    with quiet():
        if not is_independent:
            found = array_stats.ess(values, method="tail", prob=(0.05, 0.95), relative=True)
            ratio = float(np.clip(found, 0.0, 1.0))
        if not values.size * ratio >= MIN_DRAWS:
            return LIGHT
        try:
            k = float(array_stats.pareto_khat(values, r_eff=ratio, tail="both"))
        except ValueError:
            # a tail of equal draws
            return LIGHT
    num_effective = 3 * math.sqrt(values.size * ratio)
    return Tail(k, (1 + k) / math.sqrt(num_effective))


def _compute(draws: FlatDraws, given: Given) -> dict[str, Tail]:
    """Label -> its tail, of the parameters whose tails are heavy."""
    del given
    is_independent = bool(draws.dt.attrs.get(INDEPENDENT, False))
    usable = draws.is_finite & ~draws.is_constant & ~draws.is_whole
    found = {
        draws.labels[place]: tail_of(draws.values[place], is_independent=is_independent)
        for place in np.flatnonzero(usable)
    }
    return {label: tail for label, tail in found.items() if tail.is_heavy}


def _findings(result: dict[str, Tail], verdict: Verdict | None) -> list[Finding]:
    if not result or (verdict is not None and status_of(verdict) is Status.APART):
        return []
    order = sorted(result, key=lambda label: -result[label].k)
    return [Finding("heavy_tails", Severity.WARNING, tuple(order), result[order[0]].k, LARGEST_K)]


def _heavy(found: Finding) -> Words:
    if found.value >= NO_MEAN:
        why = f"from {number(NO_MEAN)} on there is no mean that an estimate could converge to"
    else:
        why = f"above {number(found.limit)} estimates of the mean converge too slowly to be used"
    return Words(
        f"The tails of {listed(found.parameters)} are heavy: Pareto k is up to "
        f"{number(found.value, 2)}, and {why}.",
        "Report medians and quantiles in place of means and standard deviations, and check the "
        "prior: the data may not identify the parameter.",
    )


WORDINGS: Wordings = {"heavy_tails": _heavy}
"""Code -> its wording."""


TAILS = Diagnostic(
    name="tails",
    anchor="tails",
    is_of_target=False,
    compute=_compute,
    findings=_findings,
    wordings=WORDINGS,
    columns=NO_COLUMNS,
    section=lambda result, verdict: None,
)
