"""What `modes` finds, how that is worded, and what it adds to the table of a comparison."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from numpyro_score.diagnostics.elsewhere import WORDINGS as OF_SEARCH
from numpyro_score.diagnostics.elsewhere import elsewhere
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import count, listed, number, percent
from numpyro_score.diagnostics.jumps_findings import WORDINGS as OF_JUMPS
from numpyro_score.diagnostics.jumps_findings import jump_findings
from numpyro_score.diagnostics.outcome import FALSE_ALARM
from numpyro_score.diagnostics.relabelled import relabelled, relabelled_words
from numpyro_score.diagnostics.section import Cell, Column, Columns
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, Verdict, draws_needed
from numpyro_score.diagnostics.wording import Wordings, Words

MOST_CHAINS = 4
"""Chains that count for the effective sample size of a share, which all chains have in common."""


def ess_needed(num_chains: int) -> int:
    """Effective sample size that is recommended for the share of a mode.

    Parameters
    ----------
    num_chains
        Chains that the draws are of.

    Examples
    --------
    >>> ess_needed(4), ess_needed(100)
    (400, 400)
    """
    return ESS_PER_CHAIN * min(num_chains, MOST_CHAINS)


def findings(modes: xr.Dataset, verdict: Verdict | None) -> list[Finding]:
    """Whether chains agree on the modes.

    Parameters
    ----------
    modes
        As `modes` returns it.
    verdict
        Of the same run: independent draws have no chains that could disagree.
    """
    num_modes = modes.attrs["num_modes"]
    shares = [float(share) for share in modes.occupancy.values]
    is_independent = verdict is not None and verdict.is_independent
    details = {"shares": shares, "chains_agree": not is_independent}
    fine = [Finding("modes", Severity.OK, (), num_modes, details=details)]
    if not modes.attrs["num_varying"]:
        return []
    fine += relabelled(modes.attrs["rearranged"])
    if is_independent and num_modes > 1:
        return fine
    wrong = elsewhere(modes.attrs) + _wrong(modes, num_modes)
    return (wrong or fine) + jump_findings(modes)


def _wrong(modes: xr.Dataset, num_modes: int) -> list[Finding]:
    found = []
    severity = Severity.PROBLEM
    if empty := [str(int(mode)) for mode in modes.mode if modes.occupancy.values[mode] == 0]:
        found.append(Finding("empty_modes", severity, tuple(empty)))
    if (modes.p_value < FALSE_ALARM / num_modes).any():
        first = modes.chain_occupancy.isel(mode=0)
        details = {"least": first.min().item(), "most": first.max().item()}
        p_value = float(modes.p_value.min())
        found.append(
            Finding("modes_differ", severity, ("0",), p_value, FALSE_ALARM / num_modes, details)
        )
    needed = modes.attrs["ess_needed"]
    if (modes.ess < needed).any():
        ess = modes.ess.min().item()
        details = {"jumps": modes.jumps_per_1000.item()}
        if not found:
            details["draws"] = draws_needed(modes.sizes["draw"], ess, needed)
        found.append(Finding("few_jumps", severity, (), ess, needed, details))
    return found


REMEDY = (
    "Longer chains of a local kernel seldom help: temper, reparameterise, or propose jumps between "
    "the modes. If the modes are one solution with other labels, give the components an order."
)


def _modes(found: Finding) -> Words:
    if found.value == 1:
        return Words("One mode was found.")
    shares = listed([percent(share) for share in found.details["shares"]])
    if found.details["chains_agree"]:
        return Words(
            f"{found.value} modes were found, and the chains agree on their shares: {shares}."
        )
    return Words(f"{found.value} modes were found, with {shares} of the draws.")


def _few_jumps(found: Finding) -> Words:
    draws = found.details.get("draws")
    return Words(
        f"The shares of the modes are unreliable: with {number(found.details['jumps'], 2)} jumps "
        f"per 1,000 draws their effective sample size is {found.value:.0f} (recommended: "
        f"{found.limit:.0f}).",
        REMEDY
        if draws is None
        else f"At this rate of jumps about {draws:,} draws per chain are needed. If that is too "
        "many, propose jumps more often, temper, or reparameterise.",
    )


WORDINGS: Wordings = {
    **OF_JUMPS,
    **OF_SEARCH,
    "modes": _modes,
    "empty_modes": lambda found: Words(f"No draw is in modes {listed(found.parameters)}.", REMEDY),
    "modes_differ": lambda found: Words(
        f"The chains are in different modes: the share of mode 0 ranges from "
        f"{found.details['least']:.0%} to {found.details['most']:.0%} of a chain.",
        REMEDY,
    ),
    "few_jumps": _few_jumps,
    "relabelled": relabelled_words,
}
"""Code -> its wording."""


def _values(modes: xr.Dataset) -> Mapping[str, float | int]:
    num_modes = modes.attrs["num_modes"]
    several = num_modes > 1
    return {
        "num_modes": num_modes,
        "mode_ess": float(modes.ess.min()) if several else math.nan,
        "jumps_per_1000": float(modes.jumps_per_1000) if several else math.nan,
    }


def _cell(row: Mapping[str, Any]) -> Cell:
    num_modes, jumps = row["num_modes"], row["jumps_per_1000"]
    if pd.isna(num_modes) or pd.isna(jumps):
        return Cell(count(num_modes))
    is_bad = row["mode_ess"] < min(row["ess_needed"], ess_needed(MOST_CHAINS))
    return Cell(f"{count(num_modes)}\n{number(jumps, 2)} jumps", "bad" if is_bad else "")


COLUMNS = Columns(
    names=("num_modes", "mode_ess", "jumps_per_1000"),
    values=_values,
    shown=(
        Column(
            "modes",
            "Modes that the draws are in, and jumps between them per 1,000 draws; marked where "
            "there are too few for the shares of the modes to be reliable.",
            _cell,
        ),
    ),
)
"""What modes add to a comparison."""
