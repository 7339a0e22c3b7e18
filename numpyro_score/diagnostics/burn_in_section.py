"""What a page shows of `burn_in`: draws to drop by each estimate."""

import math

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.formatting import count
from numpyro_score.diagnostics.section import MAX_ROWS, Cell, Section, Table
from numpyro_score.diagnostics.start import NAMES
from numpyro_score.diagnostics.verdict import Verdict


def _burn_in_table(burn_in: xr.Dataset) -> Table:
    rows = []
    for place in worst_burn_in(burn_in)[:MAX_ROWS]:
        cells = [Cell(str(burn_in.parameter.values[place]))]
        for name in _estimators(burn_in):
            value = float(burn_in.num_dropped.sel(estimator=name).values[place])
            late = value > burn_in.attrs["num_warmup"] and bool(burn_in.is_flagged.values[place])
            cells.append(Cell(_drop(name, value), "bad" * late))
        cells.append(Cell(count(float(burn_in.ess.values[place]))))
        cells.append(Cell(count(float(burn_in.ess_left.values[place]))))
        rows.append(cells)
    headings = [("parameter", "the site and the place in it")]
    headings += [(NAMES[name], MEANING[name]) for name in _estimators(burn_in)]
    headings += [
        ("ESS", "bulk effective sample size of the posterior"),
        ("ESS left", "the same after the recommended number is dropped"),
    ]
    total = burn_in.sizes["parameter"]
    note = f"Of {count(total)} parameters, the {len(rows)} with the longest transient are listed."
    return Table("Draws to drop", headings, rows, note if len(rows) < total else "")


def _drop(name: str, value: float) -> str:
    if not math.isnan(value):
        return count(value)
    # these are not estimated from short chains
    return "unknown" if name in ("mser", "autocorrelation_time") else "none suffices"


MEANING = {
    "mser": "MSER-5: where the standard error of what is left is least",
    "geweke": "until the first tenth of no chain is off",
    "autocorrelation_time": "five autocorrelation times; unknown where chains are too short",
    "rhat": "until R-hat is within its limit, which allows for the chains' length",
    "rhat_nested": "until nested R-hat is within its limit",
}


def _estimators(burn_in: xr.Dataset) -> list[str]:
    names = [str(name) for name in burn_in.estimator.values]
    has_nested = np.isfinite(burn_in.rhat_nested.values).any()
    return [name for name in names if name != "rhat_nested" or has_nested]


def worst_burn_in(burn_in: xr.Dataset) -> list[int]:
    """Places of the parameters whose burn-in is known, the longest transient first.

    Parameters
    ----------
    burn_in
        As `burn_in` returns it.
    """
    numbers = np.where(np.isnan(burn_in.num_dropped.values), np.inf, burn_in.num_dropped.values)
    own = [list(burn_in.estimator.values).index(name) for name in ("mser", "geweke")]
    longest = numbers[:, own].max(axis=1)
    order = np.lexsort((burn_in.ess.values, -longest, ~burn_in.is_flagged.values))
    return [int(place) for place in order if not burn_in.reason.values[place]]


def section(burn_in: xr.Dataset, verdict: Verdict) -> Section | None:
    """Whether draws have to be dropped.

    Parameters
    ----------
    burn_in
        As `burn_in` returns it.
    verdict
        Of the same run.
    """
    if verdict.is_independent:
        return None
    table = _burn_in_table(burn_in)
    notes = list(burn_in.attrs["notes"])
    if table.rows:
        notes.insert(0, burn_in.attrs["agreement"])
    return Section(
        "Burn-in",
        "Do the draws still show the initial transient? Four estimates, from warmup and draws; "
        "draws are counted from the first one kept.",
        [table] if table.rows else [],
        notes,
    )
