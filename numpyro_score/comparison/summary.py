"""What a comparison found on one target, in a few sentences."""

import math
from collections.abc import Mapping

import pandas as pd

from numpyro_score.comparison.needed import rounded
from numpyro_score.diagnostics import chance_limit
from numpyro_score.diagnostics.formatting import count, listed, number, times
from numpyro_score.diagnostics.status import Status
from numpyro_score.diagnostics.wording import Remark

ERRORS_IN_SD = ("mean_error_sd", "second_moment_error_sd", "other_error_sd")
ERRORS_IN_MCSE = ("mean_error_mcse", "second_moment_error_mcse", "other_error_mcse")


def _misses(row: "pd.Series") -> bool:
    """Whether a known value is missed by more than chance explains."""
    if not row["num_quantities"] > 0:
        return False
    return bool(row[list(ERRORS_IN_MCSE)].max() > chance_limit(int(row["num_quantities"])))


def _is_biased(table: pd.DataFrame, kernel: str) -> bool:
    exact = table["exact"][kernel]
    return not pd.isna(exact) and not exact


def _cheapest(table: pd.DataFrame, kernels: list[str]) -> str:
    """Which of some kernels has the most effective draws for its cost."""
    parts = []
    for column, unit in (("ess_per_evaluation", "evaluation"), ("ess_per_second", "second")):
        values = table.loc[kernels, column].dropna().sort_values()
        if len(values) > 1:
            ratio = times(values.iloc[-1] / values.iloc[-2])
            parts.append(f"per {unit} {values.index[-1]} ({ratio} the next)")
    return f"Most effective draws {' and '.join(parts)}." if parts else ""


def _more(table: pd.DataFrame, kernels: list[str]) -> str:
    """How many more evaluations some kernels need."""
    needed = table.loc[kernels, "evaluations_needed"]
    known = [
        f"{kernel} about {count(rounded(value))}"
        for kernel, value in needed.items()
        if 0 < value < math.inf
    ]
    sentences = [f"More evaluations needed: {', '.join(known)}."] if known else []
    if unknown := [kernel for kernel, value in needed.items() if value == math.inf]:
        sentences.append(
            f"How many more {listed(unknown, most=6)} would need is not foreseeable: R-hat or the "
            "effective sample size did not improve as draws were added."
        )
    return " ".join(sentences)


def summary(table: pd.DataFrame, statuses: Mapping[str, Status]) -> list[Remark]:
    """What a comparison found on one target.

    Parameters
    ----------
    table
        The target's rows of the comparison's table, by kernel.
    statuses
        kernel -> its status.

    Examples
    --------
    >>> import pandas as pd
    >>> from numpyro_score.comparison.table import COLUMNS
    >>> table = pd.DataFrame(index=["rwm", "mala"], columns=COLUMNS, dtype=float)
    >>> table["exact"], table["ess_per_evaluation"], table["ess_per_second"] = 1, [0.1, 0.3], [2, 1]
    >>> for remark in summary(table, {"rwm": Status.CONVERGED, "mala": Status.CONVERGED}):
    ...     print(remark.finding, remark.advice)
    rwm and mala converged. Most effective draws per evaluation mala (3.0 times the next) and per
    second rwm (2.0 times the next).
    """
    biased = [kernel for kernel in statuses if _is_biased(table, kernel)]

    def those(*wanted: Status) -> list[str]:
        return [k for k, found in statuses.items() if found in wanted and k not in biased]

    found = []
    settled = those(Status.CONVERGED)
    if fine := [kernel for kernel in settled if not _misses(table.loc[kernel])]:
        found.append(Remark("good", f"{listed(fine, most=6)} converged.", _cheapest(table, fine)))
    if wrong := [kernel for kernel in settled if kernel not in fine]:
        seem = "seems" if len(wrong) == 1 else "seem"
        finding = (
            f"{listed(wrong, most=6)} {seem} converged, but known values are missed by more than "
            "chance explains."
        )
        found.append(
            Remark(
                "bad",
                finding,
                "Chains can agree and all be wrong: run longer, or from other starting points.",
            )
        )
    if off := those(Status.BIASED):
        seem = "seems" if len(off) == 1 else "seem"
        finding = f"{listed(off, most=6)} {seem} converged, but off the target."
        found.append(Remark("bad", finding, "See the findings of each run."))
    if odd := those(Status.DOUBTFUL):
        finding = f"{listed(odd, most=6)} converged, but another diagnostic found a problem."
        found.append(Remark("fair", finding, "See the findings of each run."))
    if short := those(Status.SHORT):
        finding = f"{listed(short, most=6)} nearly converged."
        found.append(Remark("fair", finding, _more(table, short) or "Run longer."))
    if unclear := those(Status.UNKNOWN):
        found.append(Remark("fair", f"{listed(unclear, most=6)} cannot be judged.", "Run longer."))
    if apart := those(Status.APART):
        advice = f"Do not use these draws; see their pictures. {_more(table, apart)}".strip()
        found.append(Remark("bad", f"{listed(apart, most=6)} did not converge.", advice))
    for kernel in biased:
        if statuses[kernel] is not Status.FAILED:
            error = table.loc[kernel, list(ERRORS_IN_SD)].max()
            size = f"Worst error of a known value: {number(error, 2)} sd."
            size = "" if pd.isna(error) else size
            found.append(Remark("fair", f"{kernel} is approximate, hence biased.", size))
    if failed := [kernel for kernel, what in statuses.items() if what is Status.FAILED]:
        found.append(Remark("bad", f"{listed(failed, most=6)} made no draws; see the table."))
    return found
