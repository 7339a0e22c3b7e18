"""The page about one run, of any origin."""

from pathlib import Path

import xarray as xr

from numpyro_score.diagnostics.progress import Progress
from numpyro_score.report.page import render, write
from numpyro_score.report.run_view import MAX_ROWS, view

NUM_PICTURED = 6
"""Parameters that each picture of a single run shows."""


def write_report(
    dt: xr.DataTree, path: str | Path, *, title: str = "Draws", progress: bool = True
) -> Path:
    """Write one self-contained HTML page about one run.

    It says in words whether the chains agree, whether draws suffice and what to do, and shows the
    parameters that are least to be trusted.

    Parameters
    ----------
    dt
        Draws as ArviZ keeps them, by `numpyro_score.sample`, PyMC, Stan or anything else; only
        the group `posterior` is needed.
    path
        Where to; an existing file is replaced.
    title
        What the run is called.
    progress
        Whether to show how the figures come along.

    Returns
    -------
    The path, absolute.

    Raises
    ------
    ValueError
        If there is no posterior.
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
    with Progress("report", 4, is_shown=progress) as bar:
        drawn: list[str] = []

        def note(picture: str) -> None:
            if drawn:
                bar.done()
            drawn.append(picture)
            bar.start(picture.lower())

        run = view(dt, title, "run", num_pictured=NUM_PICTURED, note=note)
        if drawn:
            bar.done()
    return write(render("run_report.html", title=title, run=run, max_rows=MAX_ROWS), path)
