"""What a page shows of `mixing`: the parameters, the least reliable first."""

import math

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.formatting import count, number, rhat
from numpyro_score.diagnostics.rhat_ess import worst_first
from numpyro_score.diagnostics.section import MAX_ROWS, Cell, Section, Table, left_out
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, RHAT_MAX, Verdict


def _parameters(mixing: xr.Dataset, *, is_independent: bool) -> Table:
    places = worst_first(mixing)
    rows = []
    for place in places[:MAX_ROWS]:
        one = {name: mixing[name].values[place] for name in mixing.data_vars if name in ROW}
        r, nested = float(one["rhat"]), float(one["rhat_nested"])
        is_apart = nested > float(one["rhat_nested_limit"])
        few = mixing.attrs["ess_needed"]
        cells = [
            Cell(str(mixing.parameter.values[place])),
            Cell(number(float(one["mean"]), 4)),
            Cell(number(float(one["mcse"]), 2)),
            Cell(number(float(one["sd"]))),
        ]
        if not is_independent:
            cells += [
                Cell(rhat(r), "bad" * (r > RHAT_MAX)),
                *([Cell(rhat(nested), "bad" * bool(is_apart))] if _has_nested(mixing) else []),
                Cell(count(float(one["ess_bulk"])), "bad" * bool(one["ess_bulk"] < few)),
                Cell(count(float(one["ess_tail"])), "bad" * bool(one["ess_tail"] < few)),
                Cell(number(float(one["tau"])) + "*" * (not one["tau_is_trusted"])),
            ]
        rows.append(cells)
    headings = [
        ("parameter", "the site and the element of it"),
        ("mean", "posterior mean"),
        ("± se", "Monte Carlo standard error of the mean"),
        ("sd", "posterior standard deviation"),
    ]
    if not is_independent:
        headings += [
            ("R-hat", f"do chains agree? recommended: at most {RHAT_MAX}"),
            *([("nested", "nested R-hat, of superchains")] if _has_nested(mixing) else []),
            (
                "bulk ESS",
                f"effective sample size for the centre; recommended: {ESS_PER_CHAIN} per chain",
            ),
            ("tail ESS", "effective sample size for the tails"),
            (
                "tau",
                "autocorrelation time in draws; starred where chains are shorter than 50 of it",
            ),
        ]
    return Table("Parameters", headings, rows, left_out(len(rows), len(places), "parameters"))


ROW = (
    "mean",
    "mcse",
    "sd",
    "rhat",
    "rhat_nested",
    "rhat_nested_limit",
    "ess_bulk",
    "ess_tail",
    "tau",
    "tau_is_trusted",
)


def _has_nested(mixing: xr.Dataset) -> bool:
    return bool(np.isfinite(mixing.rhat_nested.values).any())


def section(table: xr.Dataset, verdict: Verdict) -> Section:
    """Whether the chains mixed.

    Parameters
    ----------
    table
        As `mixing` returns it.
    verdict
        Of the same run.
    """
    parameters = _parameters(table, is_independent=verdict.is_independent)
    if verdict.is_independent:
        lead = "Independent draws need no chains that agree."
        return Section("Draws", lead, [parameters], [])
    notes = list(table.attrs["notes"])
    star = table.rstar.item()
    if not math.isnan(star):
        error = number(table.rstar_se.item(), 2)
        notes.insert(0, f"R* is {number(star)} ± {error}; 1 is what guessing achieves.")
    lead = "Do the chains agree, and how large are the effective sample sizes?"
    return Section("Mixing", lead, [parameters], notes)
