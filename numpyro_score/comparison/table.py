"""The table of a comparison: a row for each kernel on each target.

Effective sample sizes are those of the worst scalar; a cost includes warmup, but not compilation,
which does not grow with the run.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from numpyro_score.comparison.seeds import INTERVALS
from numpyro_score.diagnostics.assessment import DIAGNOSTICS, Assessment
from numpyro_score.diagnostics.burn_in import BURN_IN
from numpyro_score.diagnostics.cost import Costs
from numpyro_score.diagnostics.mixing import MIXING

COLUMNS = (
    "exact",
    "converged",
    "ess_bulk",
    "ess_tail",
    "rhat",
    "ess_per_gradient",
    "ess_per_evaluation",
    "ess_per_second",
    *INTERVALS,
    *(name for one in DIAGNOSTICS for name in one.columns.names),
    "distance",
    "distance_floor",
    "acceptance",
    "divergences",
    "num_grad",
    "num_logdensity",
    "evaluations",
    "evaluations_needed",
    "training_share",
    "warmup_share",
    "seconds_compile",
    "seconds_training",
    "seconds_warmup",
    "seconds_sampling",
    "num_seeds",
    "failure",
)
"""Columns of the table, in its order."""


def make_row(
    dt: xr.DataTree,
    found: Assessment,
    spent: Costs,
    distances: tuple[float, float] = (math.nan, math.nan),
) -> dict[str, Any]:
    """The row of a run that did not fail.

    Parameters
    ----------
    dt
        The run.
    found, spent
        What the diagnostics found, and what it cost.
    distances
        Distance to exact draws of the target, and its floor.
    """
    verdict = found.verdict
    stats = dt["sample_stats"].data_vars if "sample_stats" in dt.children else {}
    acceptance = float(stats["acceptance_rate"].mean()) if "acceptance_rate" in stats else math.nan
    divergences = math.nan if verdict.num_divergent is None else verdict.num_divergent
    num_grad = spent.gradients
    ess = verdict.ess_bulk_min
    # independent draws have neither chains nor a start
    missing = math.nan if verdict.is_independent else 1.0
    own: dict[str, float | int] = {}
    for diagnostic in DIAGNOSTICS:
        scale = missing if diagnostic in (MIXING, BURN_IN) else 1.0
        names = diagnostic.columns.names
        values = dict.fromkeys(names, math.nan)
        if diagnostic.name in found.results:
            values = dict(diagnostic.columns.values(found.results[diagnostic.name]))
        own |= {name: scale * values[name] for name in names}
    return {
        "exact": verdict.is_exact,
        "converged": verdict.is_converged,
        "ess_bulk": ess,
        "ess_tail": verdict.ess_tail_min,
        "rhat": missing * verdict.rhat_max,
        "ess_per_gradient": np.divide(ess, num_grad or math.nan),
        "ess_per_evaluation": np.divide(ess, spent.evaluations or math.nan),
        "ess_per_second": np.divide(ess, spent.seconds or math.nan),
        **own,
        "distance": distances[0],
        "distance_floor": distances[1],
        "acceptance": acceptance,
        "divergences": divergences,
        "num_grad": num_grad,
        "num_logdensity": spent.num_logdensity + spent.num_logdensity_warmup,
        "evaluations": spent.evaluations,
        "training_share": spent.training_share,
        "warmup_share": spent.warmup_share,
        "seconds_compile": spent.seconds_compile,
        "seconds_training": spent.seconds_training or math.nan,
        "seconds_warmup": spent.seconds_warmup,
        "seconds_sampling": spent.seconds_sampling,
        "num_seeds": 1,
        "failure": "",
    }


def make_table(rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> pd.DataFrame:
    """The table of a comparison.

    Parameters
    ----------
    rows
        `(target, kernel)` -> its row, with any of `COLUMNS`; a failed run has `failure` and,
        if it is known, `exact`.
    """
    index = pd.MultiIndex.from_tuples(list(rows), names=["target", "kernel"])
    return with_types(pd.DataFrame(list(rows.values()), index=index, columns=list(COLUMNS)))


def with_types(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns in their order and of their types.

    Parameters
    ----------
    table
        Rows by target and kernel.
    """
    flags = dict.fromkeys(("exact", "converged"), "boolean")
    numbers = dict.fromkeys((n for n in COLUMNS if n not in (*flags, "failure")), "float64")
    return table.reindex(columns=list(COLUMNS)).astype({**flags, **numbers})
