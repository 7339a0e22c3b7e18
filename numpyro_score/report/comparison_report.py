"""The page about kernels compared: verdicts, a table, and the pictures of every run."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from numpyro_score import diagnostics
from numpyro_score.diagnostics import Comparison
from numpyro_score.diagnostics.assessment import Assessment, assess
from numpyro_score.diagnostics.comparison import MOMENTS
from numpyro_score.diagnostics.progress import Progress
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN
from numpyro_score.report.columns import Column, columns, shown
from numpyro_score.report.error_pictures import pareto_plan
from numpyro_score.report.findings import overall
from numpyro_score.report.formatting import number
from numpyro_score.report.page import render, write
from numpyro_score.report.pictures import Picture, pictures
from numpyro_score.report.run_view import RunView, brief_view
from numpyro_score.report.section import Cell
from numpyro_score.report.summary import summary
from numpyro_score.report.words import Remark, Status, status

NUM_PICTURED = 3
"""Parameters that each picture of a comparison shows."""

MAX_KNOWN = 12
"""Known expectations, other than moments, that are listed for a target."""


class Bar(NamedTuple):
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
    """

    kernel: str
    text: str
    percent: float
    css_class: str


class Chart(NamedTuple):
    """A small chart of one measure, a bar a kernel."""

    title: str
    bars: list[Bar]


class RowView(NamedTuple):
    """One kernel's line in the table."""

    kernel: str
    anchor: str
    status: Status
    exactness: str
    cells: list[Cell]
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


def _chart(title: str, values: "pd.Series[float]", statuses: dict[str, Status]) -> Chart:
    most = values.max()
    bars = [
        Bar(
            kernel=str(kernel),
            text=number(value),
            percent=0.0 if math.isnan(value) or not most > 0 else float(100 * value / most),
            css_class=statuses[str(kernel)].css_class,
        )
        for kernel, value in values.items()
    ]
    return Chart(title, bars)


def _row(
    kernel: str, anchor: str, row: Mapping[str, Any], found: Status, specs: tuple[Column, ...]
) -> RowView:
    failure = row["failure"]
    cells = [] if failure else [spec.cell(row) for spec in specs]
    return RowView(kernel, anchor, found, _exactness(row["exact"]), cells, failure)


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


def _fields(comparison: Comparison, target: str, kernel: str) -> dict[str, Any]:
    """A row of the table, and what its verdict adds."""
    verdict = comparison.verdicts.get((target, kernel))
    fields = comparison.table.loc[(target, kernel)].to_dict()
    return fields | {"is_independent": verdict is not None and verdict.is_independent}


def _of(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Rows that have some values in some columns."""
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table


def _status(comparison: Comparison, target: str, kernel: str) -> Status:
    place = target, kernel
    found = comparison.assessments.get(place)
    return status(comparison.verdicts.get(place)) if found is None else overall(found)


def _target(
    comparison: Comparison,
    name: str,
    place: int,
    specs: tuple[Column, ...],
    make_run: Callable[[str, str, str], RunView | None],
) -> TargetView:
    table = comparison.table.loc[name]
    statuses = {str(kernel): _status(comparison, name, str(kernel)) for kernel in table.index}
    pareto = pareto_plan(_of(comparison.curves, target=name))
    anchors = {kernel: f"run-{place}-{i}" for i, kernel in enumerate(statuses)}
    runs = [make_run(name, kernel, anchor) for kernel, anchor in anchors.items()]
    return TargetView(
        name=name,
        description=comparison.descriptions[name],
        anchor=f"target-{place}",
        remarks=summary(table, statuses),
        charts=[
            _chart(
                "Effective draws for 1,000 evaluations",
                1e3 * table["ess_per_evaluation"],
                statuses,
            ),
            _chart("Effective draws a second", table["ess_per_second"], statuses),
        ],
        pareto=pictures([] if pareto is None else [pareto], name),
        rows=[
            _row(kernel, anchors[kernel], _fields(comparison, name, kernel), found, specs)
            for kernel, found in statuses.items()
        ],
        known=_known(_of(comparison.errors, target=name)),
        runs=[run for run in runs if run is not None],
    )


def _assessment(comparison: Comparison, target: str, kernel: str) -> Assessment:
    """What the diagnostics said while it was compared, or say now."""
    place = target, kernel
    if place in comparison.assessments:
        return comparison.assessments[place]
    mine = _of(comparison.errors, target=target, kernel=kernel)
    mine = _of(mine, seed=comparison.seeds.get(place, 0))
    return assess(comparison.runs[place].load())._replace(errors=mine)


def write_comparison(comparison: Comparison, path: str | Path, *, progress: bool = True) -> Path:
    """Write a comparison as one self-contained HTML page.

    A summary in words, the table, and for every run its ranks, traces with warmup, autocorrelation
    and growth of the effective sample size.

    Parameters
    ----------
    comparison
        As `numpyro_score.compare` returns it.
    path
        Where to; an existing file is replaced.
    progress
        Whether to show how the figures come along.

    Returns
    -------
    The path, absolute.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import jax, tempfile
    >>> from numpyro_score.infer import MALA
    >>> from numpyro_score.targets import std_gaussian
    >>> cmp = compare(
    ...     {"mala": MALA},
    ...     [std_gaussian(1)],
    ...     jax.random.key(0),
    ...     num_warmup=50,
    ...     num_samples=50,
    ...     num_chains=2,
    ...     progress=False,
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_comparison(cmp, f"{folder}/report.html", progress=False).name
    'report.html'
    """
    settings = comparison.settings
    assessments = {
        (target, kernel): _assessment(comparison, target, kernel)
        for target, kernel in comparison.runs
    }
    comparison = dataclasses.replace(comparison, assessments=assessments)
    done = comparison.table.index[comparison.table["failure"] == ""]
    specs = shown(
        columns(ESS_PER_CHAIN * settings.num_chains),
        [_fields(comparison, target, kernel) for target, kernel in done],
    )
    with Progress("report", len(comparison.runs), is_shown=progress) as bar:

        def make_run(target: str, kernel: str, anchor: str) -> RunView | None:
            if (target, kernel) not in comparison.runs:
                return None
            bar.start(f"{kernel} on {target}")
            run = brief_view(
                comparison.runs[target, kernel],
                assessments[target, kernel],
                kernel,
                anchor,
                num_pictured=NUM_PICTURED,
            )
            bar.done()
            return run

        targets = [
            _target(comparison, name, place, specs, make_run)
            for place, name in enumerate(comparison.descriptions)
        ]
    html = render(
        "comparison.html",
        title="Samplers compared",
        targets=targets,
        columns=specs,
        settings=settings,
        num_kernels=len(comparison.table.index.unique("kernel")),
        is_complete=comparison.is_complete,
    )
    return write(html, path)


def _with_html[**P](function: Callable[P, Comparison]) -> Callable[P, Comparison]:
    @functools.wraps(function)
    def with_html(*args: P.args, **kwargs: P.kwargs) -> Comparison:
        return dataclasses.replace(function(*args, **kwargs), html_writer=write_comparison)

    return with_html


compare = _with_html(diagnostics.compare)
load_comparison = _with_html(diagnostics.load_comparison)
