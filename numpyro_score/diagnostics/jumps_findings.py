"""What is wrong with a kernel's jumps, and how that is worded."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import count, listed, number, percent
from numpyro_score.diagnostics.jumps import HEAVY, LONG_REFUSAL, MAX_HEAVY, SELDOM
from numpyro_score.diagnostics.section import Cell, Table
from numpyro_score.diagnostics.wording import Wordings, Words
from numpyro_score.learned.importance import LARGEST_K

BETTER = (
    "Raise num_particles or rounds, give a larger network, or in many dimensions take "
    "path_proposal."
)


def refused_jumps(chains: Sequence[str], longest: float, num_chains: int) -> Finding:
    """That some chains rejected many jumps in a row.

    Parameters
    ----------
    chains
        Their numbers.
    longest
        Most jumps rejected in a row.
    num_chains
        Chains in all.
    """
    details = {"num_chains": num_chains}
    return Finding("refused", Severity.WARNING, tuple(chains), longest, LONG_REFUSAL, details)


def heavy_tail(pareto_k: float) -> list[Finding]:
    """That the weights of the jumps have a heavy tail, if they have.

    Parameters
    ----------
    pareto_k
        Of the weights; NaN where it is not known.
    """
    if not pareto_k > LARGEST_K:
        return []
    return [Finding("heavy_tail", Severity.WARNING, (), pareto_k, LARGEST_K)]


def jump_findings(modes: xr.Dataset) -> list[Finding]:
    """What is wrong with the jumps of a run, and what its learning has left in doubt.

    Parameters
    ----------
    modes
        As `modes` returns it.
    """
    found = [
        Finding("learning", Severity.WARNING, details={"text": text})
        for text in modes.attrs["learning_warnings"]
    ]
    if one_sided := modes.attrs["num_regions_one_sided"]:
        found.append(Finding("one_sided", Severity.NOTE, (), one_sided))
    longest = modes.longest_refusal
    is_long = (longest >= LONG_REFUSAL).values
    if is_long.any():
        chains = [str(chain) for chain in modes.chain.values[is_long]]
        found.append(refused_jumps(chains, float(longest.max()), modes.sizes["chain"]))
    seldom = np.flatnonzero((modes.proposed < SELDOM).values)
    if seldom.size and modes.attrs["num_modes"] > 1:
        worst = float(modes.proposed.min())
        labels = tuple(str(mode) for mode in seldom)
        found.append(Finding("seldom_proposed", Severity.WARNING, labels, worst, SELDOM))
    elif modes.heavy > MAX_HEAVY:
        found.append(Finding("heavy", Severity.WARNING, (), modes.heavy.item(), MAX_HEAVY))
    return found + heavy_tail(modes.pareto_k.item())


def jump_table(modes: xr.Dataset) -> Table | None:
    """Acceptance, rejections and lost positions; None for a run without jumps.

    Parameters
    ----------
    modes
        As `modes` returns it.
    """
    if np.isnan(modes.jump_acceptance):
        return None
    longest, heavy = float(modes.longest_refusal.max()), modes.heavy.item()
    tail = modes.pareto_k.item()
    row = [
        Cell("all chains"),
        Cell(percent(modes.jump_acceptance.item())),
        Cell(count(longest), "bad" * (longest >= LONG_REFUSAL)),
        Cell(number(100 * heavy), "bad" * (heavy > MAX_HEAVY)),
        Cell(number(tail, 2), "bad" * (tail > LARGEST_K)),
        Cell(number(100 * modes.lost.item())),
    ]
    headings = [
        ("jumps", "to draws of the learned proposal"),
        ("accepted", "mean acceptance probability of a jump"),
        ("longest rejection", f"jumps rejected in a row; warned of from {LONG_REFUSAL} on"),
        ("seldom proposed %", f"jumps that end where p is more than {HEAVY:.0f} times q"),
        ("Pareto k", f"tail of the weights p / q; above {LARGEST_K} points are held for long"),
        ("lost %", "jumps from positions at which the flow could not be inverted"),
    ]
    return Table("Jumps", headings, [row])


def _refused(found: Finding) -> Words:
    chains = "chain" if len(found.parameters) == 1 else "chains"
    return Words(
        f"{len(found.parameters)} of {found.details['num_chains']} chains rejected "
        f"{found.limit:.0f} jumps or more in a row, up to {count(found.value)}: {chains} "
        f"{listed(found.parameters)} stayed in a region that is hardly ever proposed.",
        BETTER,
    )


WORDINGS: Wordings = {
    "refused": _refused,
    "seldom_proposed": lambda found: Words(
        f"Chains stay in a region that is hardly ever proposed: mode {listed(found.parameters)} "
        f"gets {number(found.value, 2)} times the share of the proposals that it should get.",
        BETTER,
    ),
    "heavy": lambda found: Words(
        f"{percent(found.value)} of the jumps leave a chain where the density of the target is "
        f"more than {HEAVY:.0f} times that of the proposal: a part of the target is hardly "
        "ever proposed, and others like it may be missing.",
        BETTER,
    ),
    "heavy_tail": lambda found: Words(
        f"The weights of the jumps have a heavy tail (Pareto k {number(found.value, 2)}, above "
        f"{found.limit}): in a part of the target jumps are hardly ever accepted, and chains move "
        "there by their local steps alone.",
        "Run longer, or improve the proposal: more simulations or particles, a larger network.",
    ),
    "learning": lambda found: Words(
        f"When the proposal was learned: {found.details['text']}",
    ),
    "one_sided": lambda found: Words(
        f"Of the regions that the proposal was trained on, {found.value:.0f} were found by "
        "annealed particles or by chains from dispersed starts, but not by both.",
        "Others may have been found by neither. Raise num_particles, or give a reference nearer "
        "to where the modes are.",
    ),
}
"""Code -> its wording."""
