"""The comparison's table as the page shows it: headings, their meaning, how numbers are written."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from numpyro_score.diagnostics import chance_limit
from numpyro_score.diagnostics.cost import GRADIENT_COST
from numpyro_score.diagnostics.errors import FALSE_ALARM
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, RHAT_MAX
from numpyro_score.report.formatting import count, number, percent, rhat
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


def _error(kind: str) -> Callable[..., Cell]:
    def cell(row: Mapping[str, Any]) -> Cell:
        in_mcse, in_sd = row[f"{kind}_error_mcse"], row[f"{kind}_error_sd"]
        if pd.isna(in_mcse) and pd.isna(in_sd):
            return Cell(number(None))
        is_bad = in_mcse > chance_limit(int(row["num_quantities"]))
        text = f"{number(in_mcse, 2)} se\n{number(in_sd, 2)} sd"
        return Cell(text, "bad" if is_bad else "")

    return cell


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
            _limited("rhat", rhat, lambda value: value > RHAT_MAX),
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
        Column(
            "ESS per 1,000 evals",
            "Worst bulk ESS for 1,000 evaluations of the log density, warmup included; a gradient "
            f"counts as {GRADIENT_COST}. Of a run that did not converge it means little.",
            _plain("ess_per_evaluation", number, 1e3),
        ),
        Column(
            "ESS per s",
            "Worst bulk ESS for a second of warmup and sampling on this machine; compiling apart.",
            _plain("ess_per_second", number),
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
            "included.",
            _plain("num_grad", count),
        ),
        Column(
            "log dens.",
            "Log densities without a gradient, all chains, warmup included.",
            _plain("num_logdensity", count),
        ),
        Column(
            "warmup share",
            "Share of the evaluations that warmup took.",
            _plain("warmup_share", percent),
        ),
        Column(
            "compile s", "Seconds of set-up and compilation.", _plain("seconds_compile", number)
        ),
        Column("warmup s", "Seconds of warmup.", _plain("seconds_warmup", number)),
        Column("sampling s", "Seconds of sampling.", _plain("seconds_sampling", number)),
        Column("error, means", "Worst error of a known mean." + _ERROR, _error("mean")),
        Column(
            "error, 2nd moments", "Worst error of a known second moment.", _error("second_moment")
        ),
        Column(
            "error, rest",
            "Worst error of any other known expectation, such as the weight of a mode.",
            _error("other"),
        ),
    )
