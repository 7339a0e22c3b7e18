"""The gate of the leaderboard, fixed before anything runs, and the cost at which a run passes it.

A run passes at a number of draws if R-hat is at most 1.01, every parameter has at least 400
effective draws (bulk and tail), means and second moments are within 4 standard errors of the truth
(those of estimate and truth together), and weights of modes are as near as those of as many exact
draws as there are effective ones, to 4 standard errors. It passes for good at the smallest number
of draws from which on it passes at every larger one that is looked at. Independent draws are not
added one by one: to those of a population or of nested sampling its whole cost counts.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from numpyro_score.comparison.thin import thinned
from numpyro_score.diagnostics.cost import Costs, costs
from numpyro_score.diagnostics.errors import expectation_errors
from numpyro_score.diagnostics.verdict import judge
from numpyro_score.targets import Target

RHAT_MAX = 1.01
MIN_ESS = 400
MAX_ERROR = 4.0
"""Of a mean, a second moment or the weight of a mode, in standard errors."""

PARTS = tuple(2.0 ** (-k / 2) for k in range(14, -1, -1))
"""Parts of the draws at which a run is looked at."""


class Look(NamedTuple):
    """A run after some of its draws."""

    evaluations: float
    seconds: float
    rhat: float
    ess: float
    error: float
    passes: bool


def look(dt: xr.DataTree, target: Target, part: float, spent: Costs) -> Look:
    """Judge the first draws of a run."""
    num_draws = dt["posterior"].sizes["draw"]
    num = max(math.ceil(part * num_draws), 4)
    posterior = dt["posterior"].to_dataset().isel(draw=slice(0, num))
    short = xr.DataTree.from_dict({"posterior": posterior})
    short.attrs.update(dt.attrs)
    verdict = judge(short)
    errors = expectation_errors(short, target.expectations)
    error = float(errors["error_mcse"].abs().max()) if len(errors) else math.nan
    is_independent = verdict.is_independent
    has_mixed = is_independent or verdict.rhat_max <= RHAT_MAX
    ess = float(num * posterior.sizes["chain"]) if is_independent else verdict.ess_min
    rest = (1 - num / num_draws) * spent.sampling
    return Look(
        evaluations=spent.evaluations - rest,
        seconds=spent.seconds - (1 - num / num_draws) * spent.seconds_sampling,
        rhat=verdict.rhat_max,
        ess=ess,
        error=error,
        passes=bool(has_mixed and ess >= MIN_ESS and error <= MAX_ERROR),
    )


MAX_DRAWS = 4000
"""Draws of each chain that are judged; longer runs are thinned."""


def passed(dt: xr.DataTree, target: Target, most: float) -> dict[str, Any]:
    """What a run is judged by: whether it passed with `most` evaluations, and what that cost."""
    dt = thinned(dt, MAX_DRAWS)
    spent = costs(dt)
    looks = [look(dt, target, part, spent) for part in PARTS]
    if looks[-1].passes and dt.attrs.get("independent_draws"):
        looks = looks[-1:]
    fails = [i for i, one in enumerate(looks) if not one.passes]
    first = fails[-1] + 1 if fails else 0
    last = looks[-1]
    passes = last.passes and looks[first].evaluations <= most
    row: dict[str, Any] = {
        "passed": passes,
        "rhat": last.rhat,
        "ess": last.ess,
        "error_se": last.error,
        "evaluations": last.evaluations,
        "seconds": last.seconds,
        "seconds_compile": spent.seconds_compile,
        "cost_to_pass": looks[first].evaluations if passes else math.nan,
        "seconds_to_pass": looks[first].seconds if passes else math.nan,
    }
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in row.items()
    }
