"""How many more evaluations a run needs to converge, from how it went as draws were added.

The worst effective sample size and `R-hat^2 - 1` follow powers of the number of draws: with chains
that mix, their exponents are 1 and -1. Where R-hat is far above its limit, exponents are estimated
from parts of the run. The powers are continued to the limits of the verdict. Where R-hat does not
fall, or effective draws do not grow, no number is foreseeable.
"""

import math

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.cost import Costs
from numpyro_score.diagnostics.posterior import posterior
from numpyro_score.diagnostics.verdict import RHAT_MAX, RHAT_NEAR, Verdict, judge

PARTS = (1 / 4, 1 / 2)
"""Parts of the draws that are judged, besides all of them."""

MIN_DRAWS = 16
"""Draws of each chain in the smallest part."""

MIN_EXPONENT = 0.25
"""Growth with the number of draws below which it is called none."""

MAX_RATIO = 1000.0
"""Ratio of draws needed to those made beyond which it is said to be unforeseeable."""


def _ratio(draws: list[int], values: list[float], goal: float) -> float:
    """Ratio of draws at which growing values come to their goal; infinite if they do not grow."""
    if not values[-1] < goal:
        return 1.0
    if len(values) == 1:
        return goal / values[0]
    if not np.all(np.isfinite(values)) or min(values) <= 0:
        return math.inf
    exponent = min(np.polyfit(np.log(draws), np.log(values), 1)[0], 1.0)
    if exponent < MIN_EXPONENT:
        return math.inf
    return math.exp(math.log(goal / values[-1]) / exponent)


def more_evaluations(dt: xr.DataTree, verdict: Verdict, spent: Costs) -> float:
    """Evaluations, besides those that were spent, after which the run may have converged.

    Parameters
    ----------
    dt
        The run.
    verdict
        On all of it.
    spent
        What it cost.

    Returns
    -------
    0 for a run that has converged; infinity where no number is foreseeable; NaN where it cannot
    be said, as for independent draws.

    Examples
    --------
    >>> import arviz as az
    >>> x = np.random.default_rng(0).normal(size=(4, 70))
    >>> dt = az.from_dict({"posterior": {"x": x}})
    >>> spent = Costs(280.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    >>> 0 < more_evaluations(dt, judge(dt), spent) < 10_000
    True
    """
    if verdict.is_converged:
        return 0.0
    too_few = verdict.num_draws * min(PARTS) < MIN_DRAWS or verdict.num_chains < 2
    if verdict.is_independent or too_few or math.isnan(spent.sampling):
        return math.nan
    if verdict.num_nonfinite or verdict.num_stuck_chains:
        return math.inf
    draws: list[int] = []
    if not verdict.rhat_max <= RHAT_NEAR:
        draws = [math.ceil(part * verdict.num_draws) for part in PARTS]
    data = posterior(dt)
    parts = [
        judge(xr.DataTree.from_dict({"posterior": data.isel(draw=slice(0, num))})) for num in draws
    ]
    found = [*parts, verdict]
    draws.append(verdict.num_draws)
    # of R-hat the inverse, which grows
    agreement = [1 / max(one.rhat_max**2 - 1, 1e-12) for one in found]
    ratio = max(
        _ratio(draws, [one.ess_min for one in found], float(verdict.ess_needed)),
        _ratio(draws, agreement, 1 / (RHAT_MAX**2 - 1)),
    )
    return math.inf if ratio > MAX_RATIO else (ratio - 1) * spent.sampling


def rounded(evaluations: float) -> float:
    """A number of evaluations with two digits, rounded up.

    Examples
    --------
    >>> rounded(123_456.0), rounded(0.0)
    (130000.0, 0.0)
    """
    if evaluations <= 0 or not math.isfinite(evaluations):
        return evaluations
    unit = 10.0 ** max(math.floor(math.log10(evaluations)) - 1, 0)
    return math.ceil(evaluations / unit) * unit
