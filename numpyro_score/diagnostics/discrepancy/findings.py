"""What `discrepancy` finds, how that is worded, and what a page shows of it.

Of the measures that flag a run one is named: the kernel Stein discrepancy with moments before the
plain one, the perturbed one where only that sees anything, and the first of those by reference.
"""

import math

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.discrepancy.rows import BY_REFERENCE, BY_SCORE, MEASURES
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed, number
from numpyro_score.diagnostics.section import Cell, Section, Table, p_value
from numpyro_score.diagnostics.verdict import Verdict
from numpyro_score.diagnostics.wording import Wordings, Words


def _of(code: str, result: xr.Dataset, names: list[str], name: str) -> Finding:
    one = result.sel(measure=name)
    details = {"measure": name}
    return Finding(
        code, Severity.PROBLEM, tuple(names), float(one.value), float(one.floor), details
    )


def findings(result: xr.Dataset, verdict: Verdict | None) -> list[Finding]:
    """Whether the draws are further from the target than chance explains.

    Parameters
    ----------
    result
        As `discrepancy` returns it.
    verdict
        Not needed.
    """
    del verdict
    flagged = [str(name) for name in result.measure.values[result.is_flagged.values.astype(bool)]]
    found = []
    within = [name for name in BY_SCORE[:2] if name in flagged]
    if within:
        found.append(_of("off_density", result, within, within[-1]))
    elif "ksd_perturbed" in flagged:
        found.append(_of("wrong_weights", result, ["ksd_perturbed"], "ksd_perturbed"))
    if others := [name for name in BY_REFERENCE if name in flagged]:
        found.append(_of("off_reference", result, others, others[0]))
    num_known = int(np.isfinite(result.value.values).sum())
    if not found and num_known:
        found.append(Finding("distances_ok", Severity.OK, (), num_known))
    return found


def _size(found: Finding) -> str:
    title = MEASURES[found.details["measure"]].title
    return f"the {title} is {found.value:.3g}, where exact draws have {found.limit:.3g}"


def _off_reference(found: Finding) -> Words:
    also = f" ({listed(found.parameters)} are flagged)" if len(found.parameters) > 1 else ""
    return Words(f"The draws do not agree with the reference{also}: {_size(found)}.")


WORDINGS: Wordings = {
    "off_density": lambda found: Words(f"The draws do not agree with the density: {_size(found)}."),
    "wrong_weights": lambda found: Words(
        f"The weights of the density's modes are wrong: {_size(found)}, and without jumps between "
        "the modes nothing is flagged."
    ),
    "off_reference": _off_reference,
    "distances_ok": lambda found: Words(
        f"{found.value} distance{'s' * (found.value > 1)} computed, none larger than chance "
        "explains."
    ),
}
"""Code -> its wording."""


def section(result: xr.Dataset, verdict: Verdict) -> Section:
    """How far the draws are from a target or from reference draws.

    Parameters
    ----------
    result
        As `discrepancy` returns it.
    verdict
        Not needed.
    """
    del verdict
    rows, notes = [], list(result.attrs["notes"])
    for name in result.measure.values:
        one = result.sel(measure=name)
        value = float(one.value)
        if math.isnan(value):
            continue
        rows.append(
            [
                Cell(MEASURES[str(name)].title),
                Cell(number(value), "bad" * bool(one.is_flagged)),
                Cell(number(float(one.floor))),
                Cell(number(float(one.floor_sd), 2)),
                Cell(p_value(float(one.p_value))),
            ]
        )
    headings = [
        ("distance", "of the draws from the target or the reference"),
        ("value", "marked where it is larger than chance explains"),
        ("floor", "what exact draws of the same number have on average"),
        ("± sd", "standard deviation of that"),
        ("p", "chance that exact draws are as far away"),
    ]
    return Section(
        "Distance from the target",
        "Do these draws come from the target? Each distance beside that of exact draws.",
        [Table("Distances", headings, rows)] if rows else [],
        notes,
    )
