"""What a comparison of kernels found: a table, the errors behind it, and the draws.

A row of the table says what one kernel did on one target. Effective sample sizes are those of the
worst scalar; a cost includes warmup, but not compilation, which does not grow with the run.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import xarray as xr

from numpyro_score.diagnostics.assessment import Assessment
from numpyro_score.diagnostics.cost import Costs
from numpyro_score.diagnostics.seeds import INTERVALS
from numpyro_score.diagnostics.verdict import Verdict

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


@final
@dataclass(frozen=True)
class Settings:
    """What every run of a comparison had in common.

    Attributes
    ----------
    num_warmup, num_samples
        Steps of the two phases, a chain.
    num_chains
        Chains.
    num_seeds
        Runs of each kernel on each target, with keys of their own.

    Examples
    --------
    >>> Settings(num_warmup=500, num_samples=1000, num_chains=16)
    Settings(num_warmup=500, num_samples=1000, num_chains=16, num_seeds=1)
    """

    num_warmup: int
    num_samples: int
    num_chains: int
    num_seeds: int = 1


@final
@dataclass(frozen=True)
class Comparison:
    """Kernels compared on targets.

    Attributes
    ----------
    table
        A row for each target and kernel (the index), columns `COLUMNS`: `exact` (whether the
        kernel's law is the target), `converged` (R-hat and effective sample sizes within the
        thresholds), worst `ess_bulk`, `ess_tail` and `rhat`, `ess_per_gradient`,
        `ess_per_evaluation` and `ess_per_second` (worst bulk ESS over the cost of warmup and draws;
        a gradient counts as two evaluations) with the ends `_low` and `_high` of their bootstrap
        intervals over seeds, `rstar`, `burn_in` (steps to drop, warmup included) and `burn_in_left`
        (those of them that are draws), `num_modes`, `mode_ess` (effective draws behind the least
        certain share of a mode) and `jumps_per_1000`, `distance` (sliced Wasserstein, to exact
        draws, in sds) and `distance_floor` (what exact draws have), mean `acceptance` of the draws,
        number of `divergences`, `num_grad` and `num_logdensity` (gradients, and log densities
        without a gradient, of all chains, warmup included) and the share of them in warmup,
        seconds, and the worst error of a mean, of a second moment and of any other known
        expectation in Monte Carlo standard errors and in the target's standard deviations. Of
        several seeds (`num_seeds` went through) numbers are medians. `failure` is empty, or says
        why there are no figures.
    errors
        A row for each element of each known expectation of each run, in the columns `target`,
        `kernel`, `seed` and those of `expectation_errors`.
    curves
        How the error fell as each run went on: columns `target`, `kernel`, `seed` and those of
        `error_curve`.
    runs
        `(target, kernel)` -> draws of the seed that is least to be trusted (its worst bulk ESS is
        the least); runs that failed are absent.
    verdicts
        `(target, kernel)` -> what the draws in `runs` can be trusted for.
    descriptions
        target -> its definition in words.
    settings
        What the runs had in common.
    is_complete
        Whether all runs were made; False after an interrupt.
    assessments
        `(target, kernel)` -> all that the diagnostics say; runs that were not looked at are absent.
    seeds
        `(target, kernel)` -> the seed of the draws in `runs`; what is absent is 0.
    html_writer
        Writes the HTML report; `numpyro_score.compare` provides it.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.diagnostics import compare
    >>> from numpyro_score.targets import std_gaussian
    >>> def broken(model):
    ...     raise RuntimeError("not today")
    >>> cmp = compare({"broken": broken}, [std_gaussian(2)], jax.random.key(0), progress=False)
    >>> cmp.table.failure["std_gaussian", "broken"]  # what fails has a row that says why
    'RuntimeError: not today'
    >>> cmp.settings.num_samples, cmp.is_complete
    (1000, True)
    """

    table: pd.DataFrame
    errors: pd.DataFrame
    curves: pd.DataFrame
    runs: Mapping[tuple[str, str], xr.DataTree]
    verdicts: Mapping[tuple[str, str], Verdict]
    descriptions: Mapping[str, str]
    settings: Settings
    is_complete: bool = True
    assessments: Mapping[tuple[str, str], Assessment] = field(default_factory=dict)
    seeds: Mapping[tuple[str, str], int] = field(default_factory=dict)
    html_writer: Callable[..., Path] | None = None

    def to_html(self, path: str | Path, *, progress: bool = True) -> Path:
        """Write the comparison as one self-contained HTML page.

        Parameters
        ----------
        path
            Where to; an existing file is replaced.
        progress
            Whether to show how the figures come along.

        Returns
        -------
        The path, absolute.

        Raises
        ------
        ValueError
            If the comparison has no writer of HTML.
        OSError
            If the file cannot be written.
        """
        if self.html_writer is None:
            raise ValueError(
                "this comparison comes from numpyro_score.diagnostics, which writes no HTML; use "
                "numpyro_score.compare, or numpyro_score.report.write_comparison(comparison, path)"
            )
        return self.html_writer(self, path, progress=progress)


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
