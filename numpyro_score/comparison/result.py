"""What a comparison of kernels found: a table, the errors behind it, and the draws."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import pandas as pd
import xarray as xr

from numpyro_score.diagnostics.assessment import Assessment
from numpyro_score.diagnostics.verdict import Verdict
from numpyro_score.run.budget import Budget


@final
@dataclass(frozen=True)
class Settings:
    """What every run of a comparison had in common.

    Attributes
    ----------
    num_warmup, num_samples
        Steps of the two phases, a chain; `num_samples` is None where the budget alone ends a run.
    num_chains
        Chains.
    num_seeds
        Runs of each kernel on each target, with keys of their own.
    budget
        What each run may cost in all, or None.

    Examples
    --------
    >>> Settings(num_warmup=500, num_samples=1000, num_chains=16)
    Settings(num_warmup=500, num_samples=1000, num_chains=16, num_seeds=1, budget=None)
    """

    num_warmup: int
    num_samples: int | None
    num_chains: int
    num_seeds: int = 1
    budget: Budget | None = None


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Settings as JSON holds them; without a budget as they were before there were budgets.

    Examples
    --------
    >>> from numpyro_score.run import Evaluations
    >>> plain_settings(Settings(10, None, 4, budget=Evaluations(1000)))["budget"]
    ['Evaluations', 1000]
    """
    plain = dict(vars(settings))
    budget = plain.pop("budget")
    return plain if budget is None else plain | {"budget": [type(budget).__name__, budget.number]}


@final
@dataclass(frozen=True)
class Comparison:
    """Kernels compared on targets.

    Attributes
    ----------
    table
        A row for each target and kernel (the index), columns `COLUMNS`: `exact` (whether the kernel
        leaves the target invariant), `converged` (R-hat and effective sample sizes within their
        limits), worst `ess_bulk`, `ess_tail` and `rhat`, `ess_per_gradient`,
        `ess_per_evaluation` and `ess_per_second` (worst bulk ESS over the cost of warmup and draws;
        a gradient counts as two evaluations) with the ends `_low` and `_high` of their bootstrap
        intervals over seeds, `rstar`, `burn_in` (steps to drop, warmup included) and `burn_in_left`
        (those of them that are draws), `num_modes`, `mode_ess` (effective draws behind the least
        certain share of a mode) and `jumps_per_1000`, `distance` (sliced Wasserstein, to exact
        draws, in sds) and `distance_floor` (what exact draws have), mean `acceptance` of the draws,
        number of `divergences`, `num_grad` and `num_logdensity` (gradients, and log densities
        without a gradient, of all chains, warmup included), `evaluations` (a gradient counts as
        two), `evaluations_needed` (how many more to converge, from how R-hat and effective draws
        went; infinite where that is not foreseeable), the shares of them in training and in warmup
        with training, seconds, and the worst error of a mean, of a second moment and of any other
        known expectation in Monte Carlo standard errors and in the target's standard deviations. Of
        several seeds (`num_seeds` went through) numbers are medians. `failure` is empty, or says
        why there are no figures.
    errors
        A row for each element of each known expectation of each run, in the columns `target`,
        `kernel`, `seed` and those of `expectation_errors`.
    curves
        Error as draws are added to each run: columns `target`, `kernel`, `seed` and those of
        `error_curve`.
    runs
        `(target, kernel)` -> draws of the seed with the smallest bulk effective sample size; runs
        that failed are absent.
    verdicts
        `(target, kernel)` -> verdict on the draws in `runs`.
    descriptions
        target -> its definition in words.
    settings
        What the runs had in common.
    is_complete
        Whether all runs were made; False after an interrupt.
    assessments
        `(target, kernel)` -> what all diagnostics found; runs that were not assessed are absent.
    seeds
        `(target, kernel)` -> the seed of the draws in `runs`; what is absent is 0.
    views
        `(target, kernel)` -> what the page says about a run, if its pictures were drawn with it.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.comparison import compare
    >>> from numpyro_score.targets import std_gaussian
    >>> def broken(model):
    ...     raise RuntimeError("not today")
    >>> cmp = compare({"broken": broken}, [std_gaussian(2)], jax.random.key(0), progress=False)
    >>> cmp.table.failure["std_gaussian", "broken"]  # a failed run has a row that says why
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
    views: Mapping[tuple[str, str], Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """A line: the draws of all runs are not for reading."""
        num_targets, num_kernels = (self.table.index.unique(level).size for level in (0, 1))
        several = [
            f"{num} {what}{'s' * (num != 1)}"
            for num, what in ((num_kernels, "kernel"), (num_targets, "target"))
        ]
        return f"<Comparison of {several[0]} on {several[1]}: see .table and .to_html(path)>"

    def to_html(self, path: str | Path, *, progress: bool = True) -> Path:
        """Write the comparison as one self-contained HTML page.

        Parameters
        ----------
        path
            Where to; an existing file is replaced.
        progress
            Whether to show progress.

        Returns
        -------
        The path, absolute.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        # the page imports what is above
        from numpyro_score.comparison.page import write_comparison

        return write_comparison(self, path, progress=progress)
