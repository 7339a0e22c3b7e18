"""The sections of a run's page: mixing, burn-in, modes, distances, known values."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from numpyro_score.diagnostics.assessment import Assessment
from numpyro_score.diagnostics.burn_in import NAMES
from numpyro_score.diagnostics.discrepancy.rows import MEASURES
from numpyro_score.diagnostics.errors import chance_limit
from numpyro_score.diagnostics.outcome import FALSE_ALARM
from numpyro_score.diagnostics.rhat_ess import worst_first
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, RHAT_MAX
from numpyro_score.report.chain_pictures import (
    acceptance_plan,
    mixing_plans,
    rhat_plan,
    trace_plan,
)
from numpyro_score.report.error_pictures import distances_plan, errors_plan
from numpyro_score.report.findings import on_burn_in, on_chains, on_discrepancy, on_modes
from numpyro_score.report.formatting import NOTHING, count, number, percent, rhat
from numpyro_score.report.mode_pictures import mode_plans
from numpyro_score.report.pictures import Picture, Plan, Shown
from numpyro_score.report.section import Cell, Section, Table
from numpyro_score.report.words import Remark, on_errors, remarks

MAX_ROWS = 20
"""Rows of a table, the worst first."""

MAX_MODE_ROWS = 10
"""Modes in a table, the largest first."""

Draw = Callable[[Sequence[Plan]], list[Picture]]
"""Draws what is planned."""


def _cut(num_rows: int, num_all: int, what: str) -> str:
    if num_rows >= num_all:
        return ""
    return f"The {num_rows} least trustworthy of {count(num_all)} {what} are listed."


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
        ("parameter", "the site and the place in it"),
        ("mean", "posterior mean"),
        ("± se", "Monte Carlo standard error of the mean"),
        ("sd", "posterior standard deviation"),
    ]
    if not is_independent:
        headings += [
            ("R-hat", f"do chains agree? at most {RHAT_MAX} is wanted"),
            *([("nested", "nested R-hat, of superchains")] if _has_nested(mixing) else []),
            ("bulk ESS", f"effective draws for the centre; {ESS_PER_CHAIN} a chain are wanted"),
            ("tail ESS", "effective draws for the tails"),
            ("tau", "autocorrelation time in draws; with a star where chains are under 50 of it"),
        ]
    return Table("Parameters", headings, rows, _cut(len(rows), len(places), "parameters"))


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


def mixing_section(dt: xr.DataTree, found: Assessment, shown: Shown | None, draw: Draw) -> Section:
    """Whether the chains mixed."""
    verdict = found.verdict
    plans = [] if shown is None else mixing_plans(shown, verdict.ess_needed)
    if verdict.is_independent:
        plans = []
    elif (acceptance := acceptance_plan(dt)) is not None:
        plans.append(acceptance)
    notes = list(found.mixing.attrs["notes"])
    if shown is None:
        notes.append("Nothing to draw: no parameter varies, is finite and has 4 draws a chain.")
    star = found.mixing.rstar.item()
    if not math.isnan(star) and not verdict.is_independent:
        error = number(found.mixing.rstar_se.item(), 2)
        notes.insert(
            0, f"R* is {number(star)} ± {error}: a classifier's guesses, where 1 is chance."
        )
    said = remarks(verdict, found.mixing)
    said += [] if verdict.is_independent else on_chains(found.mixing)
    lead = "Did the chains see the same thing, and how many independent draws are theirs worth?"
    if verdict.is_independent:
        lead, notes = "Draws that do not depend on each other need no chains to agree.", []
    return Section(
        "mixing",
        "Draws" if verdict.is_independent else "Mixing",
        lead,
        said,
        [_parameters(found.mixing, is_independent=verdict.is_independent)],
        draw(plans),
        notes,
    )


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
    note = f"The {len(rows)} with the longest memory of {count(total)} parameters are listed."
    return Table("Draws to drop", headings, rows, note if len(rows) < total else "")


def _drop(name: str, value: float) -> str:
    if not math.isnan(value):
        return count(value)
    # these say nothing of chains that are too short; the others try what there is
    return "cannot tell" if name in ("mser", "autocorrelation_time") else "none will do"


MEANING = {
    "mser": "MSER-5: where the standard error of what is left is least",
    "geweke": "until the first tenth of no chain is off",
    "autocorrelation_time": "five autocorrelation times; none where chains are too short to tell",
    "rhat": "until R-hat is within its limit",
    "rhat_nested": "until nested R-hat is within its limit",
}


def _estimators(burn_in: xr.Dataset) -> list[str]:
    names = [str(name) for name in burn_in.estimator.values]
    has_nested = np.isfinite(burn_in.rhat_nested.values).any()
    return [name for name in names if name != "rhat_nested" or has_nested]


def worst_burn_in(burn_in: xr.Dataset) -> list[int]:
    """Places of the parameters of which something is known, the longest memory first.

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


def burn_in_section(found: Assessment, shown: Shown | None, draw: Draw) -> Section | None:
    """Whether draws have to be dropped."""
    if found.verdict.is_independent or found.burn_in is None:
        return None
    plans: list[Plan | None] = []
    if shown is not None:
        plans = [trace_plan(shown, found.burn_in), rhat_plan(shown, found.burn_in)]
    table = _burn_in_table(found.burn_in)
    said = on_burn_in(found.burn_in)
    notes = list(found.burn_in.attrs["notes"])
    if table.rows:
        notes.insert(0, found.burn_in.attrs["agreement"])
    return Section(
        "burn-in",
        "Burn-in",
        "Do the draws remember where the chains started? Four estimates, from warmup and draws; "
        "counts begin at the first one kept.",
        said or [Remark("fair", "Nothing can be told about burn-in.")],
        [table] if table.rows else [],
        draw([plan for plan in plans if plan is not None]),
        notes,
    )


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
                Cell(_p_value(float(one.p_value)), "bad" * (float(one.p_value) < FALSE_ALARM)),
            ][: 3 if is_independent else None]
        )
    headings = [
        ("mode", "by its share of the draws, the largest first"),
        ("share", "of all draws"),
        ("± se", "Monte Carlo standard error of the share"),
        ("ESS", f"effective draws behind the share; {modes.attrs['ess_needed']} are wanted"),
        ("chains", "smallest and largest share in a chain"),
        ("p", "chance that chains which are alike differ so much"),
    ][: 3 if is_independent else None]
    more = "" if num_modes <= MAX_MODE_ROWS else f"{num_modes - MAX_MODE_ROWS} more are left out."
    return Table("Modes", headings, rows, more)


def _p_value(value: float) -> str:
    return NOTHING if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def modes_section(
    dt: xr.DataTree, found: Assessment, shown: Shown | None, draw: Draw
) -> Section | None:
    """Whether there are modes, and whether their shares can be trusted."""
    verdict = found.verdict
    if (
        found.modes is None
        or verdict.num_parameters == verdict.num_constant + verdict.num_nonfinite
    ):
        return None
    modes = found.modes
    notes, is_independent = list(modes.attrs["notes"]), found.verdict.is_independent
    if modes.attrs["num_modes"] > 1 and not is_independent:
        coverage = number(modes.entropic_coverage.item())
        notes.insert(
            0,
            f"{number(modes.jumps_per_1000.item())} jumps in 1,000 draws; entropic coverage "
            f"{coverage} (1: all modes hold as many draws).",
        )
    plans = [] if shown is None else mode_plans(dt, shown, modes)
    return Section(
        "modes",
        "Modes",
        "Is the posterior in pieces, and do the chains go from one to the other?",
        on_modes(modes, is_independent=is_independent),
        [_mode_table(modes, is_independent=is_independent)] if modes.attrs["num_modes"] > 1 else [],
        draw(plans[: 1 if is_independent else None]),
        notes,
    )


def discrepancy_section(found: Assessment, draw: Draw) -> Section | None:
    """How far the draws are from a target or from reference draws; None if there is neither."""
    if found.discrepancy is None:
        return None
    result = found.discrepancy
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
                Cell(_p_value(float(one.p_value))),
            ]
        )
    headings = [
        ("distance", "of the draws from the target or the reference"),
        ("value", "marked where it is more than chance"),
        ("floor", "what exact draws of the same number have on average"),
        ("± sd", "standard deviation of that"),
        ("p", "chance that exact draws are as far away"),
    ]
    plan = distances_plan(result)
    return Section(
        "discrepancy",
        "Distance from the target",
        "Are these draws of the right thing? Each distance beside what exact draws have.",
        on_discrepancy(result),
        [Table("Distances", headings, rows)] if rows else [],
        draw([plan] if plan is not None else []),
        notes,
    )


def _known_table(errors: pd.DataFrame) -> Table:
    worst = errors.sort_values("error_mcse", ascending=False, kind="stable").head(MAX_ROWS)
    limit = chance_limit(len(errors))
    rows = [
        [
            Cell(str(row["quantity"])),
            Cell(number(row["truth"], 4)),
            Cell(number(row["estimate"], 4)),
            Cell(number(row["mcse"], 2)),
            Cell(number(row["error_mcse"], 2), "bad" * (row["error_mcse"] > limit)),
            Cell(number(row["error_sd"], 2)),
        ]
        for row in worst.to_dict("records")
    ]
    headings = [
        ("expectation", "what is known"),
        ("truth", "its known value"),
        ("estimate", "from the draws"),
        ("± se", "Monte Carlo standard error of the estimate"),
        ("error, se", "in Monte Carlo standard errors: is it more than chance?"),
        ("error, sd", "in standard deviations under the target: does it matter?"),
    ]
    return Table("Known values", headings, rows, _cut(len(rows), len(errors), "known values"))


def known_section(found: Assessment, draw: Draw) -> Section | None:
    """How far estimates are from known values; None if none is known."""
    if found.errors.empty:
        return None
    plan = errors_plan(found.errors)
    return Section(
        "known",
        "Compared with known values",
        "Where the truth is known, do the draws find it?",
        on_errors(found.errors, found.verdict),
        [_known_table(found.errors)],
        draw([plan] if plan is not None else []),
        ["The standard errors are not to be trusted where chains disagree."],
    )
