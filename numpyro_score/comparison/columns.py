"""The comparison's table as the page shows it: headings, their meaning, how numbers are written."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from numpyro_score.diagnostics import chance_limit
from numpyro_score.diagnostics.cost import GRADIENT_COST
from numpyro_score.diagnostics.errors import FALSE_ALARM
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, RHAT_MAX
from numpyro_score.report.formatting import NOTHING, count, number, percent, rhat
from numpyro_score.report.section import Cell


class Column(NamedTuple):
    """One column of the table.

    Attributes
    ----------
    heading
        Its name and unit.
    meaning
        What it is, in a sentence.
    cell
        Row -> cell.
    """

    heading: str
    meaning: str
    cell: Callable[[Mapping[str, Any]], Cell]


def _plain(name: str, write: Callable[[float], str], scale: float = 1.0) -> Callable[..., Cell]:
    return lambda row: Cell(write(scale * row[name]))


def _limited(
    name: str, write: Callable[[float], str], is_bad: Callable[[float], bool]
) -> Callable[..., Cell]:
    return lambda row: Cell(write(row[name]), "bad" if is_bad(row[name]) else "")


def _rate(name: str, scale: float = 1.0) -> Callable[..., Cell]:
    """A rate, below it its interval over seeds, if there is one."""

    def cell(row: Mapping[str, Any]) -> Cell:
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
        text = number(scale * row[name])
        if low is None or high is None or pd.isna(low):
            return Cell(text)
        return Cell(f"{text}\n{number(scale * low)} to {number(scale * high)}")

    return cell


def _burn_in(row: Mapping[str, Any]) -> Cell:
    return Cell(number(row["burn_in"], 4), "bad" if row["burn_in_left"] > 0 else "")


def _modes(ess_needed: int) -> Callable[..., Cell]:
    def cell(row: Mapping[str, Any]) -> Cell:
        num_modes, jumps = row["num_modes"], row["jumps_per_1000"]
        if pd.isna(num_modes) or pd.isna(jumps):
            return Cell(count(num_modes))
        is_bad = row["mode_ess"] < ess_needed
        return Cell(f"{count(num_modes)}\n{number(jumps, 2)} jumps", "bad" if is_bad else "")

    return cell


def _distance(row: Mapping[str, Any]) -> Cell:
    value, floor = row["distance"], row["distance_floor"]
    if pd.isna(value):
        return Cell(number(None))
    is_bad = value > DISTANCE_LIMIT * floor
    return Cell(f"{number(value, 2)}\n({number(floor, 2)})", "bad" if is_bad else "")


def _error(kind: str) -> Callable[..., Cell]:
    def cell(row: Mapping[str, Any]) -> Cell:
        in_mcse, in_sd = row[f"{kind}_error_mcse"], row[f"{kind}_error_sd"]
        if pd.isna(in_mcse) and pd.isna(in_sd):
            return Cell(number(None))
        is_bad = in_mcse > chance_limit(int(row["num_quantities"]))
        text = f"{number(in_mcse, 2)} se\n{number(in_sd, 2)} sd"
        return Cell(text, "bad" if is_bad else "")

    return cell


DISTANCE_LIMIT = 2.0
"""Multiple of the floor up to which a distance is not marked."""

_INTERVAL = " Below it: bootstrap interval over seeds, where there are several."

_ERROR = (
    " In Monte Carlo standard errors of the estimate and the known value together (se: is it more "
    f"than chance? marked where {FALSE_ALARM:.1%} of exact runs would have one so large) and in "
    "standard deviations under the target (sd: does it matter?)."
)


def columns(ess_needed: int) -> tuple[Column, ...]:
    """The table's columns, after those that name the kernel and its verdict.

    Parameters
    ----------
    ess_needed
        Effective sample size below which a cell is marked.

    Examples
    --------
    >>> columns(400)[0].heading, columns(400)[0].cell({"rhat": 1.2})
    ('max R-hat', Cell(text='1.200', css_class='bad'))
    """

    def too_few(ess: float) -> bool:
        return ess < ess_needed

    return (
        Column(
            "max R-hat",
            "Do the chains agree? Rank-normalised split R-hat of the worst parameter; at most "
            f"{RHAT_MAX} is wanted.",
            lambda row: Cell(
                "n/a" if row.get("is_independent") else rhat(row["rhat"]),
                "bad" if row["rhat"] > RHAT_MAX else "",
            ),
        ),
        Column(
            "min bulk ESS",
            "Independent draws that the draws are worth for the centre of the worst parameter; "
            f"{count(ess_needed)} wanted ({ESS_PER_CHAIN} a chain).",
            _limited("ess_bulk", count, too_few),
        ),
        Column(
            "min tail ESS",
            "The same for the tails (interval ends).",
            _limited("ess_tail", count, too_few),
        ),
        Column("error, means", "Worst error of a known mean." + _ERROR, _error("mean")),
        Column(
            "error, 2nd moments", "Worst error of a known second moment.", _error("second_moment")
        ),
        Column(
            "error, rest",
            "Worst error of any other known expectation, such as the weight of a mode.",
            _error("other"),
        ),
        Column(
            "distance",
            "Sliced Wasserstein distance to exact draws, in the target's standard deviations; in "
            "brackets what exact draws have; marked where it is more than "
            f"{DISTANCE_LIMIT:g} times that.",
            _distance,
        ),
        Column(
            "R*",
            "How well a classifier guesses the chain of a draw, all parameters together: 1 is "
            "chance, as many as there are chains is certainty.",
            _plain("rstar", number),
        ),
        Column(
            "burn-in",
            "Steps until the start was forgotten, warmup included; marked where that is later than "
            "the warmup's end. A dash: it never was, or it cannot be told.",
            _burn_in,
        ),
        Column(
            "modes",
            "Modes that the draws are in, and jumps between them in 1,000 draws; marked where they "
            "are too few for the shares of the modes to be trusted.",
            _modes(ess_needed),
        ),
        Column(
            "ESS per 1,000 grads",
            "Worst bulk ESS for 1,000 gradients, warmup included." + _INTERVAL,
            _rate("ess_per_gradient", 1e3),
        ),
        Column(
            "ESS per 1,000 evals",
            "Worst bulk ESS for 1,000 evaluations of the log density, warmup included; a gradient "
            f"counts as {GRADIENT_COST}. Of a run that did not converge it means little."
            + _INTERVAL,
            _rate("ess_per_evaluation", 1e3),
        ),
        Column(
            "ESS per s",
            "Worst bulk ESS for a second of warmup and sampling on this machine; compiling apart."
            + _INTERVAL,
            _rate("ess_per_second"),
        ),
        Column(
            "accept",
            "Mean probability with which a proposal was accepted, after warmup.",
            _plain("acceptance", percent),
        ),
        Column(
            "diverg.",
            "Draws marked as divergent.",
            _limited("divergences", count, lambda value: value > 0),
        ),
        Column(
            "grads",
            "Gradients of the log density (each with the log density itself), all chains, warmup "
            "and training included.",
            _plain("num_grad", count),
        ),
        Column(
            "log dens.",
            "Log densities without a gradient, all chains, warmup included.",
            _plain("num_logdensity", count),
        ),
        Column(
            "warmup share",
            "Share of the evaluations that warmup and training took.",
            _plain("warmup_share", percent),
        ),
        Column(
            "compile s", "Seconds of set-up and compilation.", _plain("seconds_compile", number)
        ),
        Column(
            "training s",
            "Seconds in which a kernel learned of the target before its first step, compilation "
            "included.",
            _plain("seconds_training", number),
        ),
        Column("warmup s", "Seconds of warmup.", _plain("seconds_warmup", number)),
        Column("sampling s", "Seconds of sampling.", _plain("seconds_sampling", number)),
    )


def shown(specs: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns in which some row has something to say.

    Parameters
    ----------
    specs
        As `columns` returns them.
    rows
        Of the runs that went through.

    Examples
    --------
    >>> specs = columns(400)[:2]
    >>> [spec.heading for spec in shown(specs, [{"rhat": 1.0, "ess_bulk": float("nan")}])]
    ['max R-hat']
    """
    return tuple(spec for spec in specs if any(spec.cell(row).text != NOTHING for row in rows))
