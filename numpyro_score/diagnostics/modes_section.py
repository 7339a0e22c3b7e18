"""What a page shows of `modes`: their shares of the draws."""

import xarray as xr

from numpyro_score.diagnostics.formatting import count, number, percent
from numpyro_score.diagnostics.jumps_findings import jump_table
from numpyro_score.diagnostics.outcome import FALSE_ALARM
from numpyro_score.diagnostics.section import Cell, Section, Table, p_value
from numpyro_score.diagnostics.verdict import Verdict

MAX_MODE_ROWS = 10
"""Modes in a table, the largest first."""


def _mode_table(modes: xr.Dataset, *, is_independent: bool) -> Table:
    rows = []
    num_modes = modes.attrs["num_modes"]
    for mode in range(min(num_modes, MAX_MODE_ROWS)):
        one = modes.isel(mode=mode)
        ess = float(one.ess)
        per_chain = one.chain_occupancy.values
        rows.append(
            [
                Cell(f"mode {mode}"),
                Cell(percent(float(one.occupancy))),
                Cell(percent(float(one.mcse))),
                Cell(count(ess), "bad" * (ess < modes.attrs["ess_needed"])),
                Cell(f"{percent(float(per_chain.min()))} to {percent(float(per_chain.max()))}"),
                Cell(p_value(float(one.p_value)), "bad" * (float(one.p_value) < FALSE_ALARM)),
            ][: 3 if is_independent else None]
        )
    headings = [
        ("mode", "by its share of the draws, the largest first"),
        ("share", "of all draws"),
        ("± se", "Monte Carlo standard error of the share"),
        ("ESS", f"effective sample size of the share; recommended: {modes.attrs['ess_needed']}"),
        ("chains", "smallest and largest share in a chain"),
        ("p", "probability that chains with equal shares differ so much"),
    ][: 3 if is_independent else None]
    more = "" if num_modes <= MAX_MODE_ROWS else f"{num_modes - MAX_MODE_ROWS} more are left out."
    return Table("Modes", headings, rows, more)


def section(modes: xr.Dataset, verdict: Verdict) -> Section | None:
    """Whether there are modes, and whether their shares can be trusted.

    Parameters
    ----------
    modes
        As `modes` returns it.
    verdict
        Of the same run.
    """
    if not modes.attrs["num_varying"]:
        return None
    notes = list(modes.attrs["notes"])
    has_several = modes.attrs["num_modes"] > 1
    if has_several and not verdict.is_independent:
        coverage = number(modes.entropic_coverage.item())
        notes.insert(
            0,
            f"{number(modes.jumps_per_1000.item())} jumps per 1,000 draws; entropic coverage "
            f"{coverage} (1: all modes hold as many draws).",
        )
    tables = [_mode_table(modes, is_independent=verdict.is_independent)] if has_several else []
    jumped = jump_table(modes)
    tables += [] if jumped is None else [jumped]
    lead = "Does the posterior have separate modes, and do the chains move between them?"
    return Section("Modes", lead, tables, notes)
