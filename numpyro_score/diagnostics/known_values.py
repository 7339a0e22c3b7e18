"""Known expectations against their estimates: whether the draws are of the target.

The numbers are those of `errors.py`. Standard errors of chains that disagree are wide enough to
hide any error: agreement is then not reported.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from numpyro_score.diagnostics.draws import FlatDraws
from numpyro_score.diagnostics.errors import (
    KNOWN_VALUE_FALSE_ALARM,
    chance_limit,
    expectation_errors,
)
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import number
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.section import (
    MAX_ROWS,
    Cell,
    Column,
    Columns,
    ErrorChart,
    Section,
    Table,
    left_out,
)
from numpyro_score.diagnostics.status import Status, status_of
from numpyro_score.diagnostics.verdict import Verdict
from numpyro_score.diagnostics.wording import Wordings, Words

MOMENTS = {"mean": "mean", "second_moment": "second_moment"}
"""Expectations with columns of their own; the rest are `other`."""

KINDS = (*MOMENTS.values(), "other")

UNITS = ("error_mcse", "error_sd")

MAX_CHARTED = 24
"""Known values in the chart, the largest errors first."""


def findings(errors: pd.DataFrame, verdict: Verdict | None) -> list[Finding]:
    """Whether estimates of known values are off by more than chance.

    Parameters
    ----------
    errors
        Rows of one run, as `expectation_errors` returns them.
    verdict
        Of the same run.
    """
    known = errors[errors["error_mcse"].notna()]
    if known.empty:
        return []
    limit = chance_limit(len(known))
    worst = known.sort_values("error_mcse", ascending=False, kind="stable").iloc[0]
    details = {name: float(worst[name]) for name in ("error_sd", "estimate", "truth")}
    code, severity = "known_ok", Severity.OK
    if worst["error_mcse"] > limit:
        code, severity = "known_missed", Severity.PROBLEM
    elif verdict is not None and status_of(verdict) is Status.APART:
        code, severity = "known_untested", Severity.NOTE
    labels = (str(worst["quantity"]),)
    details["num_known"] = len(known)
    return [Finding(code, severity, labels, float(worst["error_mcse"]), limit, details)]


def _size(found: Finding) -> str:
    return (
        f"{number(found.value, 2)} Monte Carlo standard errors "
        f"({number(found.details['error_sd'], 2)} sd)"
    )


WORDINGS: Wordings = {
    "known_ok": lambda found: Words(
        f"All {found.details['num_known']} known values agree within Monte Carlo error: the "
        f"largest error, of {found.parameters[0]}, is {_size(found)}; limit "
        f"{number(found.limit, 2)}."
    ),
    "known_missed": lambda found: Words(
        f"The estimate of {found.parameters[0]} is off its known value by {_size(found)}, where "
        f"chance explains {number(found.limit, 2)}: {number(found.details['estimate'], 4)} instead "
        f"of {number(found.details['truth'], 4)}."
    ),
    "known_untested": lambda found: Words(
        "The chains disagree, so their standard errors are too wide to test known values: the "
        f"largest error, of {found.parameters[0]}, is {_size(found)}."
    ),
}
"""Code -> its wording."""


def _values(errors: pd.DataFrame) -> Mapping[str, float | int]:
    kinds = errors["expectation"].map(MOMENTS.get).fillna("other")
    row = {
        f"{kind}_{unit}": errors.loc[kinds == kind, unit].max() for kind in KINDS for unit in UNITS
    }
    return {**row, "num_quantities": len(errors)}


def _error(kind: str) -> Any:
    def cell(row: Mapping[str, Any]) -> Cell:
        in_mcse, in_sd = row[f"{kind}_error_mcse"], row[f"{kind}_error_sd"]
        if pd.isna(in_mcse) and pd.isna(in_sd):
            return Cell(number(None))
        is_bad = in_mcse > chance_limit(int(row["num_quantities"]))
        text = f"{number(in_mcse, 2)} se\n{number(in_sd, 2)} sd"
        return Cell(text, "bad" if is_bad else "")

    return cell


COLUMNS = Columns(
    names=(*(f"{kind}_{unit}" for kind in KINDS for unit in UNITS), "num_quantities"),
    values=_values,
    shown=(
        Column(
            "error, means",
            "Largest error of a known mean. In Monte Carlo standard errors of estimate and known "
            "value together (se: is it larger than chance explains? marked where "
            f"{KNOWN_VALUE_FALSE_ALARM:.1%} of exact runs would have one so large) and in standard "
            "deviations under the target (sd: does it matter?).",
            _error("mean"),
        ),
        Column(
            "error, 2nd moments",
            "Largest error of a known second moment.",
            _error("second_moment"),
        ),
        Column(
            "error, rest",
            "Largest error of any other known expectation, such as the weight of a mode.",
            _error("other"),
        ),
    ),
)
"""What known values add to a comparison."""


def _known_table(errors: pd.DataFrame) -> Table:
    worst = errors.sort_values("error_mcse", ascending=False, kind="stable").head(MAX_ROWS)
    limit = chance_limit(len(errors))
    rows = [
        [
            Cell(str(row["quantity"])),
            Cell(number(row["truth"], 4)),
            Cell(number(row["estimate"], 4)),
            Cell(number(row["mcse"], 2)),
            Cell(number(row["error_mcse"], 2), "bad" * (row["error_mcse"] > limit)),
            Cell(number(row["error_sd"], 2)),
        ]
        for row in worst.to_dict("records")
    ]
    headings = [
        ("expectation", "what is known"),
        ("truth", "its known value"),
        ("estimate", "from the draws"),
        ("± se", "Monte Carlo standard error of the estimate"),
        ("error, se", "in Monte Carlo standard errors: is it larger than chance explains?"),
        ("error, sd", "in standard deviations under the target: does it matter?"),
    ]
    return Table("Known values", headings, rows, left_out(len(rows), len(errors), "known values"))


def _chart(errors: pd.DataFrame) -> list[ErrorChart]:
    known = errors[np.isfinite(errors["error_mcse"].astype(float))]
    if known.empty:
        return []
    worst = known.sort_values("error_mcse", ascending=False, kind="stable").head(MAX_CHARTED)
    more = len(known) - len(worst)
    rest = f" The {MAX_CHARTED} largest errors; {more} left out." if more else ""
    sign = np.sign(worst["estimate"].astype(float) - worst["truth"].astype(float))
    return [
        ErrorChart(
            "Errors of known values",
            "Estimate minus known value, in standard errors of both. Shaded: what chance explains "
            f"for so many values.{rest}",
            worst["quantity"].astype(str).tolist(),
            (sign * worst["error_mcse"].astype(float)).tolist(),
            chance_limit(len(known)),
        )
    ]


def section(errors: pd.DataFrame, verdict: Verdict) -> Section | None:
    """How far estimates are from known values; None if none is known.

    Parameters
    ----------
    errors
        Rows of one run, as `expectation_errors` returns them.
    verdict
        Of the same run.
    """
    del verdict
    if errors.empty:
        return None
    return Section(
        "Compared with known values",
        "Where the truth is known, do the draws agree with it?",
        [_known_table(errors)],
        ["Standard errors are unreliable where chains disagree."],
        _chart(errors),
    )


def _compute(draws: FlatDraws, given: Given) -> pd.DataFrame:
    return expectation_errors(draws, () if given.target is None else given.target.expectations)


KNOWN_VALUES = Diagnostic(
    name="known_values",
    anchor="known",
    is_of_target=True,
    compute=_compute,
    findings=findings,
    wordings=WORDINGS,
    columns=COLUMNS,
    section=section,
)
