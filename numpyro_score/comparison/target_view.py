"""What the page of a comparison says about one target."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from numpyro_score.comparison.equal_cost import equal_cost
from numpyro_score.comparison.pareto import pareto_plan
from numpyro_score.comparison.result import Comparison
from numpyro_score.comparison.summary import summary
from numpyro_score.diagnostics.formatting import count, number
from numpyro_score.diagnostics.known_values import MOMENTS
from numpyro_score.diagnostics.section import Cell, Column
from numpyro_score.diagnostics.status import Status, status_of
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN
from numpyro_score.diagnostics.wording import Remark
from numpyro_score.report.pictures import Picture, pictures
from numpyro_score.report.run_view import RunView

Specs = tuple[tuple[Column, ...], tuple[Column, ...]]
"""Columns that are always seen, and those that are folded away."""

MAX_KNOWN = 12
"""Known expectations, other than moments, that are listed for a target."""


class ChartBar(NamedTuple):
    """One kernel's bar in a small chart.

    Attributes
    ----------
    kernel
        Its name.
    text
        The value.
    percent
        Length of the bar.
    css_class
        Of its status.
    interval
        Ends of the interval over seeds as a percentage, if there is one.
    said
        The interval in words, or nothing.
    """

    kernel: str
    text: str
    percent: float
    css_class: str
    interval: tuple[float, float] | None = None
    said: str = ""


class Chart(NamedTuple):
    """A small chart of one measure, a bar a kernel."""

    title: str
    bars: list[ChartBar]


class RowView(NamedTuple):
    """One kernel's line in the table."""

    kernel: str
    anchor: str
    status: Status
    exactness: str
    cells: list[Cell]
    more: list[Cell]
    failure: str


class KnownView(NamedTuple):
    """Estimates of known expectations that are not moments, beside their truth.

    Attributes
    ----------
    kernels
        Names of the columns.
    rows
        `(quantity, truth, one estimate a kernel)`.
    num_left_out
        Quantities that are not shown.
    """

    kernels: list[str]
    rows: list[tuple[str, str, list[str]]]
    num_left_out: int


class TargetView(NamedTuple):
    """What the page says about one target."""

    name: str
    description: str
    anchor: str
    remarks: list[Remark]
    charts: list[Chart]
    pareto: list[Picture]
    rows: list[RowView]
    known: KnownView
    runs: list[RunView]


def _exactness(exact: object) -> str:
    if pd.isna(exact):
        return ""
    return "exact" if exact else "approximate"


def _chart(
    comparison: Comparison, table: pd.DataFrame, unit: str, statuses: dict[str, Status]
) -> Chart | None:
    """Effective draws at equal cost; None where no kernel says what it spent."""
    cost, found = equal_cost(table, comparison.settings, unit)
    if math.isnan(cost):
        return None
    most = float(np.nanmax([found["ess"].max(), found["high"].max(), 0.0]))

    def share(value: float) -> float:
        return 0.0 if math.isnan(value) or not most > 0 else 100 * value / most

    bars = []
    for kernel, row in found.iterrows():
        ends = (share(row["low"]), share(row["high"])) if row["low"] > 0 else None
        said = f"{count(row['low'])} to {count(row['high'])}" if ends else ""
        css_class = statuses[str(kernel)].css_class
        bars.append(
            ChartBar(str(kernel), count(row["ess"]), share(row["ess"]), css_class, ends, said)
        )
    given = count(cost) if unit == "evaluations" else number(cost)
    return Chart(f"Effective draws at {given} {unit}", bars)


def _row(kernel: str, anchor: str, row: Mapping[str, Any], found: Status, specs: Specs) -> RowView:
    failure = row["failure"]
    cells, more = ([] if failure else [spec.cell(row) for spec in group] for group in specs)
    return RowView(kernel, anchor, found, _exactness(row["exact"]), cells, more, failure)


def _known(errors: pd.DataFrame) -> KnownView:
    others = errors[~errors["expectation"].isin(list(MOMENTS))]
    kernels = others["kernel"].unique().tolist()
    rows = []
    for quantity, group in others.groupby("quantity", sort=False):
        # of several seeds the median
        middle = group.groupby("kernel")[["estimate", "mcse"]].median()
        estimates = {
            kernel: f"{number(one['estimate'])} ± {number(one['mcse'], 2)}"
            for kernel, one in middle.iterrows()
        }
        truth = number(group["truth"].iloc[0])
        rows.append((str(quantity), truth, [estimates[kernel] for kernel in kernels]))
    return KnownView(kernels, rows[:MAX_KNOWN], max(len(rows) - MAX_KNOWN, 0))


def row_fields(comparison: Comparison, target: str, kernel: str) -> dict[str, Any]:
    """A row of the table, and what its verdict adds."""
    verdict = comparison.verdicts.get((target, kernel))
    fields = comparison.table.loc[(target, kernel)].to_dict()
    needed = ESS_PER_CHAIN * comparison.settings.num_chains
    is_independent = verdict is not None and verdict.is_independent
    return fields | {"is_independent": is_independent, "ess_needed": needed}


def rows_of(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Rows that have some values in some columns."""
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table


def _status(comparison: Comparison, target: str, kernel: str) -> Status:
    place = target, kernel
    found = comparison.assessments.get(place)
    return status_of(comparison.verdicts.get(place)) if found is None else found.status


def target_view(
    comparison: Comparison,
    name: str,
    place: int,
    specs: Specs,
    make_run: Callable[[str, str, str], RunView | None],
) -> TargetView:
    """What the page says about one target.

    Parameters
    ----------
    comparison
        With all assessments.
    name, place
        The target, and its place among the targets.
    specs
        Columns of the table, and those that are folded away.
    make_run
        `(target, kernel, anchor)` -> what the page says about a run; None for one that failed.
    """
    table = comparison.table.loc[name]
    statuses = {str(kernel): _status(comparison, name, str(kernel)) for kernel in table.index}
    pareto = pareto_plan(rows_of(comparison.curves, target=name))
    anchors = {kernel: f"run-{place}-{i}" for i, kernel in enumerate(statuses)}
    charts = [_chart(comparison, table, unit, statuses) for unit in ("evaluations", "seconds")]
    runs = [make_run(name, kernel, anchor) for kernel, anchor in anchors.items()]
    return TargetView(
        name=name,
        description=comparison.descriptions[name],
        anchor=f"target-{place}",
        remarks=summary(table, statuses),
        charts=[chart for chart in charts if chart is not None],
        pareto=pictures([] if pareto is None else [pareto], name),
        rows=[
            _row(kernel, anchors[kernel], row_fields(comparison, name, kernel), found, specs)
            for kernel, found in statuses.items()
        ],
        known=_known(rows_of(comparison.errors, target=name)),
        runs=[run for run in runs if run is not None],
    )
