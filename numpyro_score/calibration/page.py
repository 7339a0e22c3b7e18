"""The page about a calibration: the verdict, the kind of each fault, a table and the figure."""

from pathlib import Path

import numpy as np

from numpyro_score.calibration.credible import DENSITY, DISTANCE
from numpyro_score.calibration.figure import coverage_figure, ecdf_figure
from numpyro_score.calibration.result import Calibration
from numpyro_score.diagnostics.formatting import count, number
from numpyro_score.diagnostics.section import Cell, Table, p_value
from numpyro_score.diagnostics.wording import Remark
from numpyro_score.report.canvas import styled, to_svg
from numpyro_score.report.page import render, write
from numpyro_score.report.pictures import Picture

MOST_PICTURED = 30
"""Quantities in the figure; of more, those with the smallest p-values."""

NUM_COLUMNS = 3
"""Panels in a row; as wide as the page's column."""

LARGE = 3.0
"""Standard errors by which bias or spread must be off to name the kind of a fault."""

MEANINGS = {
    "quantity": "parameter or log density whose true value is ranked among the draws",
    "p-value": "of a test that its ranks are uniform; small: not calibrated",
    "verdict": "at the false-alarm rate for all quantities together",
    "bias": "mean over data sets of (posterior mean - truth) / posterior sd; 0 if calibrated",
    "spread": "sd of the same; 1 for Gaussian posteriors, above 1: posteriors are too narrow",
}
"""Headings of the table, and what they mean."""


def write_calibration(
    calibration: Calibration, path: str | Path, *, title: str = "Calibration"
) -> Path:
    """Write a calibration as one self-contained HTML page; see `Calibration.to_html`."""
    html = render(
        "calibration.html",
        title=title,
        is_calibrated=calibration.is_calibrated,
        verdict=calibration.verdict,
        remarks=_remarks(calibration),
        facts=_facts(calibration),
        table=_table(calibration),
        pictures=_pictures(calibration),
    )
    return write(html, path)


def _remarks(calibration: Calibration) -> list[Remark]:
    """Faults, then what makes the verdict less reliable."""
    table = calibration.table
    found = [
        Remark("bad", f"The ranks of {name} are not uniform{_kind(calibration, str(name))}.")
        for name in table.index[~table["is_calibrated"]]
    ]
    if found:
        # advice once, not at every parameter
        found[-1] = found[-1]._replace(
            advice="Check that the model is the one that was simulated from, then the kernel: a "
            "longer warmup, a smaller step size, an exact kernel."
        )
    problems = [Remark("fair", f"{text[0].upper()}{text[1:]}.") for text in calibration.problems]
    return [*found, *problems] or [Remark("good", calibration.verdict)]


def _kind(calibration: Calibration, name: str) -> str:
    """How posteriors differ from calibrated ones, where bias or spread show it."""
    values = calibration.pit.sel(quantity=name).values
    num = int(np.isfinite(values).sum())
    bias, spread = (float(calibration.table.loc[name, key]) for key in ("bias", "spread"))
    kinds = []
    if abs(bias) * np.sqrt(num) > LARGE * max(spread, 1e-30):
        kinds.append(f"posteriors are too {'high' if bias > 0 else 'low'} ({bias:+.2f} sd)")
    if abs(spread - 1) > LARGE / np.sqrt(2 * num):
        kinds.append(f"posteriors are too {'narrow' if spread > 1 else 'wide'} ({spread:.2f})")
    return f": {' and '.join(kinds)}" if kinds else ""


def _facts(calibration: Calibration) -> dict[str, str]:
    facts = {
        "data sets": f"{count(len(calibration.ess))}, {calibration.data_sets}",
        "false-alarm rate": f"{calibration.alpha:g}",
        "quantities": count(len(calibration.table)),
        "effective draws of a refit": f"{count(float(np.median(calibration.ess)))} (median), "
        f"{count(float(calibration.ess.min()))} (least)",
    }
    if np.isfinite(calibration.rhat).any():
        facts["largest R-hat of a refit"] = number(float(np.nanmax(calibration.rhat)))
    return facts


def _table(calibration: Calibration) -> Table:
    rows = [
        [
            Cell(str(name)),
            Cell(p_value(row["p_value"])),
            Cell(*(("ok", "") if row["is_calibrated"] else ("off", "bad"))),
            Cell(number(row["bias"])),
            Cell(number(row["spread"])),
        ]
        for name, row in calibration.table.iterrows()
    ]
    return Table("Calibration by quantity", list(MEANINGS.items()), rows)


def _pictures(calibration: Calibration) -> list[Picture]:
    pictures = [_picture(calibration)]
    if {DENSITY, DISTANCE} <= set(calibration.table.index):
        with styled():
            uri = to_svg(coverage_figure(calibration))
        caption = (
            "Share of the data sets whose true parameters lie in credible regions: of highest "
            "density, and in balls around a random point (TARP). Above the diagonal posteriors are "
            "too wide, below too narrow."
        )
        alt = "Expected coverage against credibility"
        pictures.append(Picture("Expected coverage.", caption, uri, alt))
    return pictures


def _picture(calibration: Calibration) -> Picture:
    table = calibration.table
    worst = table.sort_values("p_value", kind="stable").index[:MOST_PICTURED]
    names = [str(name) for name in table.index if name in worst]
    left_out = len(table) - len(names)
    with styled():
        uri = to_svg(ecdf_figure(calibration, names, NUM_COLUMNS))
    caption = (
        "ECDF of the normalised ranks, less the uniform CDF. A calibrated quantity stays in its "
        f"band; all do with a probability of at least {1 - calibration.alpha:g}."
    )
    if left_out:
        caption += f" {left_out} quantities with larger p-values are left out."
    off = [str(name) for name in table.index[~table["is_calibrated"]]]
    alt = f"ECDF differences of {len(names)} quantities; outside of their bands: " + (
        ", ".join(off) or "none"
    )
    return Picture("Ranks of the true values.", caption, uri, alt)
