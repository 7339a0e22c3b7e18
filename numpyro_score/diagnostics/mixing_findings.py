"""What `mixing` finds, how that is worded, and what it adds to the table of a comparison."""

from collections.abc import Mapping, Sequence

import xarray as xr

from numpyro_score.diagnostics.acceptance import missed_acceptance
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed, number, rhat
from numpyro_score.diagnostics.outcome import FALSE_ALARM
from numpyro_score.diagnostics.rejection import MAX_SHARE
from numpyro_score.diagnostics.section import Cell, Column, Columns
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, Verdict
from numpyro_score.diagnostics.verdict_findings import WORDINGS as OF_VERDICT
from numpyro_score.diagnostics.verdict_findings import verdict_findings
from numpyro_score.diagnostics.wording import Wordings, Words

LEAST_ACCEPTANCE = 0.5
"""Part of its target that the acceptance rate of a chain may fall to."""

CLEAR_RSTAR = 1.5
"""R* from which on chains differ plainly."""


def findings(table: xr.Dataset, verdict: Verdict | None) -> list[Finding]:
    """What mixing shows.

    Parameters
    ----------
    table
        As `mixing` returns it.
    verdict
        By R-hat and effective draws, whose findings come first.
    """
    found = [] if verdict is None else verdict_findings(verdict, table)
    if verdict is not None and verdict.is_independent:
        return found
    if table.rstar_p_value < FALSE_ALARM:
        value, error = table.rstar.item(), table.rstar_se.item()
        severity = Severity.PROBLEM if value > CLEAR_RSTAR else Severity.WARNING
        found.append(Finding("rstar", severity, (), value, 1.0, {"standard_error": error}))
    apart = table.parameter.values[(table.rhat_nested > table.rhat_nested_limit).values]
    if apart.size:
        worst = float(table.rhat_nested.max())
        found.append(Finding("superchains", Severity.PROBLEM, tuple(apart.tolist()), worst))
    return found + _on_chains(table)


def _on_chains(table: xr.Dataset) -> list[Finding]:
    """What is wrong with single chains."""
    found = []
    num_draws = table.attrs["num_draws"]
    longest = table.longest_rejection
    # of few draws, long stretches without a move say nothing
    is_still = (longest > MAX_SHARE * max(num_draws, ESS_PER_CHAIN)).values
    still = [str(chain) for chain in table.chain.values[is_still]]
    if len(still) > len(table.attrs["frozen_chains"]):
        details = {"num_steps": num_draws}
        found.append(
            Finding(
                "stuck", Severity.WARNING, tuple(still), float(longest.max()), MAX_SHARE, details
            )
        )
    is_low = (table.acceptance < LEAST_ACCEPTANCE * table.target_acceptance).values
    if is_low.any():
        chains = tuple(str(chain) for chain in table.chain.values[is_low])
        least, target = table.acceptance.min().item(), table.target_acceptance.item()
        found.append(Finding("acceptance", Severity.WARNING, chains, least, target))
    else:
        found += missed_acceptance(float(table.acceptance.mean()), float(table.target_acceptance))
    return found


def _chains(labels: Sequence[str]) -> str:
    return f"chain{'s' * (len(labels) > 1)} {listed(labels)}"


WORDINGS: Wordings = {
    **OF_VERDICT,
    "rstar": lambda found: Words(
        f"A classifier can tell the chains apart: R* is {number(found.value)} with a standard "
        f"error of {number(found.details['standard_error'], 2)}, where 1 is chance.",
        "They differ in some combination of parameters, even if they agree on each one. Draw more, "
        f"and see whether it persists: one well-mixed run in {1 / FALSE_ALARM:.0f} shows it by "
        "chance.",
    ),
    "superchains": lambda found: Words(
        f"The superchains disagree on {listed(found.parameters)}: nested R-hat is up to "
        f"{rhat(found.value)}.",
        "Run a longer warmup.",
    ),
    "stuck": lambda found: Words(
        f"Some chains did not move for up to {found.value:.0f} of {found.details['num_steps']} "
        f"steps (limit {found.limit:.0%} of them): {_chains(found.parameters)}.",
        "Take smaller steps, or run a longer warmup.",
    ),
    "acceptance": lambda found: Words(
        f"The acceptance rate falls to {found.value:.2f}, below half of its target "
        f"{found.limit:.2f}, in {_chains(found.parameters)}.",
        "Take smaller steps, or run a longer warmup.",
    ),
}
"""Code -> its wording."""


def _values(table: xr.Dataset) -> Mapping[str, float | int]:
    return {"rstar": float(table.rstar)}


COLUMNS = Columns(
    names=("rstar",),
    values=_values,
    shown=(
        Column(
            "R*",
            "How well a classifier guesses the chain of a draw from all parameters together: 1 is "
            "chance, the number of chains is certainty.",
            lambda row: Cell(number(row["rstar"])),
        ),
    ),
)
"""What mixing adds to a comparison; R-hat and effective draws are of the verdict."""
