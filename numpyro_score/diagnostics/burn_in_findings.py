"""What `burn_in` finds, how that is worded, and what it adds to the table of a comparison."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import count, listed, number
from numpyro_score.diagnostics.section import Cell, Column, Columns
from numpyro_score.diagnostics.verdict import Verdict
from numpyro_score.diagnostics.wording import Wordings, Words


def rhat_stays(burn_in: xr.Dataset) -> bool:
    """Whether R-hat of some parameter stays above its limit whatever is dropped.

    Parameters
    ----------
    burn_in
        As `burn_in` returns it.
    """
    # of one chain there is no R-hat
    has_rhat = np.isfinite(burn_in.rhat.transpose("parameter", ...).values).any(axis=1)
    known = (burn_in.reason == "").values & has_rhat
    return bool(np.isnan(burn_in.num_dropped.sel(estimator="rhat").values[known]).any())


def end(burn_in: xr.Dataset) -> float:
    """Step at which burn-in ended, warmup included; 0 if it shows none, NaN if it is not known.

    Parameters
    ----------
    burn_in
        As `burn_in` returns it.
    """
    if not burn_in.is_flagged.values.any() and rhat_stays(burn_in):
        return math.nan
    return float(burn_in.recommended)


def findings(burn_in: xr.Dataset, verdict: Verdict | None) -> list[Finding]:
    """Whether the draws still show the initial transient.

    Parameters
    ----------
    burn_in
        As `burn_in` returns it.
    verdict
        Of the same run: independent draws have no transient.
    """
    if verdict is not None and verdict.is_independent:
        return []
    labels = tuple(burn_in.parameter.values[burn_in.is_flagged.values].tolist())
    recommended = float(burn_in.recommended)
    num_warmup = burn_in.attrs["num_warmup"]
    details = {"num_warmup": num_warmup}
    if labels and math.isnan(recommended):
        return [Finding("drift", Severity.PROBLEM, labels)]
    if labels:
        severity = Severity.WARNING
        return [Finding("transient", severity, labels, recommended, num_warmup, details)]
    if not np.isfinite(burn_in.ess.values).any():
        return [Finding("no_burn_in", Severity.NOTE)]
    stays = rhat_stays(burn_in)
    if stays or recommended > num_warmup:
        details["rhat_stays"] = stays
        return [Finding("burn_in_unsure", Severity.NOTE, (), recommended, num_warmup, details)]
    code = "burn_in_over" if recommended > 0 else "no_transient"
    return [Finding(code, Severity.OK, (), recommended, num_warmup, details)]


def _transient(found: Finding) -> Words:
    num_warmup = found.details["num_warmup"]
    where = f"{num_warmup} of them are warmup" if num_warmup else "no warmup is kept"
    shows = "shows" if len(found.parameters) == 1 else "show"
    return Words(
        f"{listed(found.parameters)} still {shows} the initial transient: drop the first "
        f"{found.value:.0f} draws of each chain ({where}).",
        "numpyro_score.diagnostics.drop_burn_in(dt) does that.",
    )


def _unsure(found: Finding) -> Words:
    num_warmup = found.details["num_warmup"]
    after = f" after the warmup of {count(num_warmup)} steps" if num_warmup else ""
    fine = f"No initial transient is detected{after}"
    if found.details["rhat_stays"]:
        return Words(
            f"{fine}, but R-hat stays above its limit whatever is dropped: whether burn-in is over "
            "is not known."
        )
    return Words(f"{fine}, but the longest estimate of burn-in is {count(found.value)} steps.")


WORDINGS: Wordings = {
    "drift": lambda found: Words(
        f"Drift through the first half of the chains, in {listed(found.parameters)}: run longer, "
        "from better starting points."
    ),
    "transient": _transient,
    "burn_in_unsure": _unsure,
    "no_burn_in": lambda _: Words("Burn-in cannot be estimated from these draws."),
    "burn_in_over": lambda found: Words(
        f"Burn-in ended after {count(found.value)} steps, within the warmup of "
        f"{count(found.limit)}."
    ),
    "no_transient": lambda _: Words("The draws show no initial transient."),
}
"""Code -> its wording."""


def _values(burn_in: xr.Dataset) -> Mapping[str, float | int]:
    return {
        "burn_in": float(burn_in.recommended),
        "burn_in_left": float(burn_in.num_to_drop),
    }


def _cell(row: Mapping[str, Any]) -> Cell:
    return Cell(number(row["burn_in"], 4), "bad" if row["burn_in_left"] > 0 else "")


COLUMNS = Columns(
    names=("burn_in", "burn_in_left"),
    values=_values,
    shown=(
        Column(
            "burn-in",
            "Steps until the initial transient was over, warmup included; marked where that is "
            "after the end of warmup. A dash: it never was, or it cannot be estimated.",
            _cell,
        ),
    ),
)
"""What burn-in adds to a comparison."""
