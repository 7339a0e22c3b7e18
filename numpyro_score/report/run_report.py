"""The page about one run, of any origin."""

from pathlib import Path

import xarray as xr
from numpyro.infer import MCMC

from numpyro_score.diagnostics.assessment import assess
from numpyro_score.diagnostics.discrepancy.reference import Reference
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.errors import expectation_errors
from numpyro_score.progress import TaskProgress
from numpyro_score.report.page import render, write
from numpyro_score.report.run_view import page_view
from numpyro_score.targets import Target

NUM_PICTURED = 5
"""Parameters that each picture of a single run shows."""


def write_report(
    dt: xr.DataTree | MCMC | FlatDraws,
    path: str | Path,
    *,
    title: str = "Draws",
    target: Target | None = None,
    reference: Reference | None = None,
    progress: bool = True,
) -> Path:
    """Write one self-contained HTML page about one run.

    A verdict comes first: problems, what to do, and what was found to be fine. Then mixing, burn-in
    and modes, each with its numbers and pictures of the least reliable parameters; and, where a
    target or reference draws are given, distances from them and known values.

    Parameters
    ----------
    dt
        Draws as ArviZ keeps them, by `numpyro_score.sample`, PyMC, Stan or anything else; only
        the group `posterior` is needed. Or a fitted `numpyro.infer.MCMC`.
    path
        Where to; an existing file is replaced.
    title
        What the run is called.
    target
        What they should be draws of, if it is known.
    reference
        Draws that are known to be good, if there are any: a DataTree, or variable -> independent
        draws `(draw, *event)`.
    progress
        Whether to show progress.

    Returns
    -------
    The path, absolute.

    Raises
    ------
    ValueError
        If there is no posterior, or it lacks a variable of the target.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import arviz as az, numpy as np, tempfile
    >>> draws = np.random.default_rng(0).normal(size=(4, 100))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(
    ...         az.from_dict({"posterior": {"x": draws}}), f"{folder}/x.html", progress=False
    ...     )
    ...     page.read_text(encoding="utf-8").splitlines()[0]
    '<!doctype html>'
    """
    draws = flatten(dt)
    if target is not None:
        # a target that does not fit the draws is found before the work
        expectation_errors(draws, target.expectations)
    with TaskProgress("report", is_shown=progress) as bar:
        bar.start("diagnostics")
        found = assess(draws, target, reference)

        def note(picture: str) -> None:
            bar.done()
            bar.start(picture.lower())

        run = page_view(draws, found, title, num_pictured=NUM_PICTURED, note=note)
        bar.done()
    return write(render("run_report.html", title=title, run=run), path)
