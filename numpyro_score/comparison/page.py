"""The page about kernels compared: verdicts, a table, and the pictures of every run."""

import dataclasses
from pathlib import Path

import xarray as xr

from numpyro_score.comparison.columns import main_columns, more_columns, shown
from numpyro_score.comparison.result import Comparison
from numpyro_score.comparison.target_view import row_fields, rows_of, target_view
from numpyro_score.diagnostics.assessment import Assessment, assess
from numpyro_score.diagnostics.draws import flatten
from numpyro_score.progress import TaskProgress
from numpyro_score.report.page import render, write
from numpyro_score.report.run_view import RunView, brief_view

NUM_PICTURED = 3
"""Parameters that each picture of a comparison shows."""


def _assessment(comparison: Comparison, target: str, kernel: str) -> Assessment:
    """What the diagnostics found during the comparison, or find now."""
    place = target, kernel
    if place in comparison.assessments:
        return comparison.assessments[place]
    mine = rows_of(comparison.errors, target=target, kernel=kernel)
    mine = rows_of(mine, seed=comparison.seeds.get(place, 0))
    return assess(comparison.runs[place].load()).with_result("known_values", mine)


def run_view(dt: xr.DataTree, found: Assessment, kernel: str) -> RunView:
    """What the page says about one run, pictures drawn; its anchor is left out.

    Parameters
    ----------
    dt
        The run.
    found
        `assess(dt)`.
    kernel
        Its name.
    """
    return brief_view(flatten(dt), found, kernel, "", num_pictured=NUM_PICTURED)


def write_comparison(comparison: Comparison, path: str | Path, *, progress: bool = True) -> Path:
    """Write a comparison as one self-contained HTML page.

    Error against cost and effective draws at equal cost, the table, and for every run its findings,
    ranks, traces with warmup, autocorrelation and growth of the effective sample size.

    Parameters
    ----------
    comparison
        As `numpyro_score.compare` returns it.
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

    Examples
    --------
    >>> import jax, tempfile
    >>> from numpyro_score.comparison import compare
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
    rows = [row_fields(comparison, target, kernel) for target, kernel in done]
    specs, more = (
        shown(wanted(settings.num_chains), rows) for wanted in (main_columns, more_columns)
    )
    num_left = len(comparison.runs) - len(comparison.views)
    shows = progress and num_left > 0
    with TaskProgress("report", num_left, is_shown=shows, unit="run") as bar:

        def make_run(target: str, kernel: str, anchor: str) -> RunView | None:
            place = target, kernel
            if place not in comparison.runs:
                return None
            run = comparison.views.get(place)
            if run is None:
                bar.start(f"{kernel} on {target}")
                run = run_view(comparison.runs[place], assessments[place], kernel)
                bar.done()
            return run._replace(anchor=anchor)

        targets = [
            target_view(comparison, name, place, (specs, more), make_run)
            for place, name in enumerate(comparison.descriptions)
        ]
    html = render(
        "comparison.html",
        title="Samplers compared",
        targets=targets,
        columns=specs,
        more_columns=more,
        settings=settings,
        num_kernels=len(comparison.table.index.unique("kernel")),
        is_complete=comparison.is_complete,
    )
    return write(html, path)
