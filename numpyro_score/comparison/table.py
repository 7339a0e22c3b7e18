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
from numpyro_score.diagnostics.assessment import Assessment
from numpyro_score.diagnostics.cost import Costs

MOMENTS = {"mean": "mean", "second_moment": "second_moment"}
"""Expectations with columns of their own; the rest are `other`."""

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
    "rstar",
    "burn_in",
    "burn_in_left",
    "num_modes",
    "mode_ess",
    "jumps_per_1000",
    "distance",
    "distance_floor",
    "acceptance",
    "divergences",
    "num_grad",
    "num_logdensity",
    "warmup_share",
    "seconds_compile",
    "seconds_training",
    "seconds_warmup",
    "seconds_sampling",
    "mean_error_mcse",
    "mean_error_sd",
    "second_moment_error_mcse",
    "second_moment_error_sd",
    "other_error_mcse",
    "other_error_sd",
    "num_quantities",
    "num_seeds",
    "failure",
)
"""Columns of the table, in its order."""


def _worst_errors(errors: pd.DataFrame) -> dict[str, float]:
    row = {}
    kinds = errors["expectation"].map(MOMENTS.get).fillna("other")
    for kind in (*MOMENTS.values(), "other"):
        for unit in ("error_mcse", "error_sd"):
            row[f"{kind}_{unit}"] = errors.loc[kinds == kind, unit].max()
    return row


def make_row(
    dt: xr.DataTree,
    found: Assessment,
    spent: Costs,
    distances: tuple[float, float] = (math.nan, math.nan),
) -> dict[str, Any]:
    """The row of a run that went through.

    Parameters
    ----------
    dt
        The run.
    found, spent
        What the diagnostics say about it, and what it cost.
    distances
        To exact draws of the target, and the floor of that.
    """
    verdict, modes, burn_in = found.verdict, found.modes, found.burn_in
    stats = dt["sample_stats"].data_vars if "sample_stats" in dt.children else {}
    acceptance = float(stats["acceptance_rate"].mean()) if "acceptance_rate" in stats else math.nan
    divergences = math.nan if verdict.num_divergent is None else verdict.num_divergent
    num_grad = spent.gradients
    ess = verdict.ess_bulk_min
    # of draws that do not depend on each other there is neither a start nor a chain
    chained = math.nan if verdict.is_independent else 1.0
    mode_ess = jumps = math.nan
    if modes is not None and modes.attrs["num_modes"] > 1:
        mode_ess, jumps = float(modes.ess.min()), float(modes.jumps_per_1000)
    return {
        "exact": verdict.is_exact,
        "converged": verdict.is_converged,
        "ess_bulk": ess,
        "ess_tail": verdict.ess_tail_min,
        "rhat": chained * verdict.rhat_max,
        "ess_per_gradient": np.divide(ess, num_grad or math.nan),
        "ess_per_evaluation": np.divide(ess, spent.evaluations or math.nan),
        "ess_per_second": np.divide(ess, spent.seconds or math.nan),
        "rstar": chained * float(found.mixing.rstar),
        "burn_in": math.nan if burn_in is None else chained * float(burn_in.recommended),
        "burn_in_left": math.nan if burn_in is None else chained * float(burn_in.num_to_drop),
        "num_modes": math.nan if modes is None else modes.attrs["num_modes"],
        "mode_ess": mode_ess,
        "jumps_per_1000": jumps,
        "distance": distances[0],
        "distance_floor": distances[1],
        "acceptance": acceptance,
        "divergences": divergences,
        "num_grad": num_grad,
        "num_logdensity": spent.num_logdensity + spent.num_logdensity_warmup,
        "warmup_share": spent.warmup_share,
        "seconds_compile": spent.seconds_compile,
        "seconds_training": spent.seconds_training or math.nan,
        "seconds_warmup": spent.seconds_warmup,
        "seconds_sampling": spent.seconds_sampling,
        **_worst_errors(found.errors),
        "num_quantities": len(found.errors),
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
