"""Verdicts in words: what is fine, what is not, what to do."""

import math
from enum import Enum
from typing import NamedTuple

import pandas as pd
import xarray as xr

from numpyro_score.diagnostics import Verdict, chance_limit
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, RHAT_MAX
from numpyro_score.report.formatting import count, listed, number, rhat, times

RHAT_NEAR = 1.05
"""R-hat up to which longer runs are the first thing to try."""


class Status(Enum):
    """A run in one phrase; the value is what the page says."""

    CONVERGED = "converged"
    DOUBTFUL = "look closer"
    SHORT = "run longer"
    APART = "not converged"
    BIASED = "off the target"
    APPROXIMATE = "independent draws"
    UNKNOWN = "cannot tell"
    FAILED = "failed"

    @property
    def css_class(self) -> str:
        """Class of the page's style sheet."""
        bad = (Status.APART, Status.BIASED, Status.FAILED)
        return "good" if self is Status.CONVERGED else "bad" if self in bad else "fair"

    @property
    def headline(self) -> str:
        """What it means for who wants to use the draws."""
        return {
            Status.CONVERGED: "Nothing speaks against these draws.",
            Status.DOUBTFUL: "The chains agree, but something else is amiss.",
            Status.SHORT: "The chains came close: a longer run should do.",
            Status.APART: "Do not use these draws.",
            Status.BIASED: "These draws are not draws of the target.",
            Status.APPROXIMATE: "Independent draws of an approximate sampler: judge them by their "
            "error.",
            Status.UNKNOWN: "There is too little to tell whether these draws can be used.",
            Status.FAILED: "There are no draws.",
        }[self]


GRAVITY = ("bad", "fair", "good")
"""Classes of remarks, the gravest first."""


class Remark(NamedTuple):
    """One thing to know about a run.

    Attributes
    ----------
    css_class
        "good", "fair" or "bad".
    finding
        What is the case.
    advice
        What to do about it, or nothing.
    """

    css_class: str
    finding: str
    advice: str = ""


def status(verdict: Verdict | None) -> Status:
    """A run in one phrase.

    Parameters
    ----------
    verdict
        Of the run; None for one that failed.

    Examples
    --------
    >>> status(None).value
    'failed'
    """
    if verdict is None:
        return Status.FAILED
    if verdict.is_converged:
        return Status.CONVERGED
    if verdict.num_nonfinite or verdict.rhat_max > RHAT_NEAR or verdict.num_stuck_chains:
        return Status.APART
    if math.isnan(verdict.rhat_max):
        return Status.UNKNOWN
    return Status.SHORT


def _on_completeness(verdict: Verdict) -> list[Remark]:
    if verdict.is_complete:
        return []
    return [Remark("fair", f"Interrupted after {count(verdict.num_draws)} draws a chain.")]


def _on_values(verdict: Verdict, table: xr.Dataset) -> list[Remark]:
    remarks = []
    if verdict.num_nonfinite:
        names = table.parameter.values[~table.is_finite.values].tolist()
        remarks.append(
            Remark(
                "bad",
                f"Draws that are not finite in {listed(names)}; nothing can be said about them.",
                "Look for an overflow or a division by zero in the model, or run in float64 "
                "(JAX_ENABLE_X64=1).",
            )
        )
    if verdict.num_constant == verdict.num_parameters:
        remarks.append(
            Remark("bad", "Nothing ever moved.", "Take smaller steps, or start elsewhere.")
        )
    elif verdict.num_stuck_chains:
        remarks.append(
            Remark(
                "bad",
                f"{verdict.num_stuck_chains} of {verdict.num_chains} chains never moved.",
                "Take smaller steps, start them elsewhere, or warm up longer.",
            )
        )
    return remarks


def _on_mixing(verdict: Verdict) -> list[Remark]:
    if verdict.is_independent:
        return [
            Remark(
                "fair" if verdict.is_approximate else "good",
                f"{count(verdict.num_chains * verdict.num_draws)} independent draws: R-hat and "
                "burn-in do not apply.",
                "How far their law is from the target is what counts; chains that agree do not "
                "tell." * verdict.is_approximate,
            )
        ]
    if math.isnan(verdict.rhat_max):
        if verdict.num_chains == 1:
            finding = "There is one chain, so nothing tells whether it saw all there is."
            return [Remark("fair", finding, "Run at least 4 chains from different starts.")]
        if verdict.num_constant + verdict.num_nonfinite == verdict.num_parameters:
            return []
        return [Remark("fair", "There are too few draws to compute R-hat.", "Draw more.")]
    if verdict.rhat_max <= RHAT_MAX:
        return [Remark("good", f"The chains agree: R-hat is at most {rhat(verdict.rhat_max)}.")]
    if verdict.rhat_max <= RHAT_NEAR:
        return [
            Remark(
                "fair",
                f"The chains do not quite agree: R-hat is up to {rhat(verdict.rhat_max)} (limit "
                f"{RHAT_MAX}).",
                "Warm up and run longer.",
            )
        ]
    return [
        Remark(
            "bad",
            f"The chains disagree: R-hat is up to {rhat(verdict.rhat_max)} (limit {RHAT_MAX}).",
            "Do not use these draws. If the traces still drift, warm up and run longer. If chains "
            "keep to levels of their own, the posterior has several modes or a narrow place: "
            "reparameterise it, or try another kernel.",
        )
    ]


def _on_draws(verdict: Verdict) -> list[Remark]:
    if math.isnan(verdict.ess_min) or verdict.is_independent:
        return []
    needed = f"{count(verdict.ess_needed)} wanted, {ESS_PER_CHAIN} a chain"
    which = "bulk" if verdict.ess_bulk_min <= verdict.ess_tail_min else "tail"
    finding = f"the worst {which} effective sample size is {count(verdict.ess_min)} ({needed})."
    if verdict.has_enough_draws:
        return [Remark("good", f"There are draws enough: {finding}")]
    advice = ""
    if verdict.has_mixed:
        advice = (
            f"Draw about {times(verdict.ess_needed / verdict.ess_min)} as much, or take a kernel "
            "that moves further a step."
        )
    return [Remark("fair", f"There are too few draws: {finding}", advice)]


def _on_divergences(verdict: Verdict) -> list[Remark]:
    if not verdict.num_divergent:
        return []
    total = verdict.num_chains * verdict.num_draws
    return [
        Remark(
            "fair",
            f"{count(verdict.num_divergent)} of {count(total)} steps are marked as divergent: the "
            "sampler met a place it could not follow, or a number that is not finite.",
            "Estimates may be biased. Take smaller steps (a higher target_accept_prob), or "
            "reparameterise.",
        )
    ]


def bias(verdict: Verdict) -> list[Remark]:
    """That a kernel is approximate, if it is.

    Parameters
    ----------
    verdict
        Of the run.
    """
    if not verdict.is_approximate:
        return []
    if verdict.is_independent:
        return [
            Remark(
                "fair",
                "This sampler is approximate: its draws are of a law that is not the posterior.",
                "Compare them with an exact kernel's, or take more steps and a better score until "
                "the error does not matter.",
            )
        ]
    return [
        Remark(
            "fair",
            "This kernel is approximate: what it converges to is not the posterior, however long "
            "it runs.",
            "Compare it with an exact kernel, or shrink its step until its error does not matter.",
        )
    ]


def remarks(verdict: Verdict, table: xr.Dataset) -> list[Remark]:
    """All there is to say about a run, the gravest first.

    Parameters
    ----------
    verdict
        Of the run.
    table
        Its `convergence`.
    """
    parts = [
        *_on_values(verdict, table),
        *_on_mixing(verdict),
        *_on_draws(verdict),
        *_on_divergences(verdict),
        *bias(verdict),
        *_on_completeness(verdict),
    ]
    return sorted(parts, key=lambda remark: GRAVITY.index(remark.css_class))


def on_errors(errors: pd.DataFrame, verdict: Verdict) -> list[Remark]:
    """Whether known values are missed by more than chance.

    Standard errors of chains that disagree are wide enough to hide any miss: no praise then.

    Parameters
    ----------
    errors
        Rows of one run, as `expectation_errors` returns them.
    verdict
        Of the same run.
    """
    known = errors[errors["error_mcse"].notna()]
    if known.empty:
        return []
    limit = chance_limit(len(known))
    worst = known.sort_values("error_mcse", ascending=False, kind="stable").iloc[0]
    size = (
        f"{number(worst['error_mcse'], 2)} Monte Carlo standard errors "
        f"({number(worst['error_sd'], 2)} sd)"
    )
    is_met = worst["error_mcse"] <= limit
    if is_met and status(verdict) is Status.APART:
        return [
            Remark(
                "fair",
                "The chains disagree, so their standard errors are too wide to test known values: "
                f"the worst, {worst['quantity']}, is off by {size}.",
            )
        ]
    if is_met:
        return [
            Remark(
                "good",
                f"All {len(known)} known values are met as well as chance lets one see: the worst, "
                f"{worst['quantity']}, is off by {size}; limit {number(limit, 2)}.",
            )
        ]
    return [
        Remark(
            "bad",
            f"{worst['quantity']} is off its known value by {size}, where chance explains "
            f"{number(limit, 2)}: {number(worst['estimate'], 4)} for {number(worst['truth'], 4)}.",
        )
    ]
