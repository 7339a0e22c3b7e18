"""Findings about a run as a whole: values, R-hat, effective draws, divergences, exactness."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.acceptance import missed_words
from numpyro_score.diagnostics.apart import apart_words
from numpyro_score.diagnostics.drift import drift_words
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import count, listed, number, rhat, times
from numpyro_score.diagnostics.goal import first_choice_words, goal_words
from numpyro_score.diagnostics.halves import halves_words
from numpyro_score.diagnostics.precision import Precision, too_coarse
from numpyro_score.diagnostics.saturation import Saturation, saturated, saturated_words
from numpyro_score.diagnostics.verdict import (
    ESS_PER_CHAIN,
    RHAT_MAX,
    RHAT_NEAR,
    Verdict,
    draws_needed,
)
from numpyro_score.diagnostics.wording import Wordings, Words

MAX_DIVERGENT = 1e-3
"""Share of divergent steps up to which they are noted only."""


def _values(verdict: Verdict, table: xr.Dataset) -> list[Finding]:
    found = []
    if verdict.num_nonfinite:
        names = table.parameter.values[~table.is_finite.values]
        found.append(Finding("nonfinite", Severity.PROBLEM, _texts(names)))
    frozen = _texts(table.attrs["frozen_chains"])
    if frozen and len(frozen) == verdict.num_chains:
        found.append(Finding("all_frozen", Severity.PROBLEM))
    elif frozen:
        found.append(frozen_chains(frozen, verdict.num_chains))
    return found


def _texts(labels: Sequence[object] | np.ndarray) -> tuple[str, ...]:
    return tuple(str(label) for label in labels)


def frozen_chains(chains: Sequence[str], num_chains: int) -> Finding:
    """That some chains never moved.

    Parameters
    ----------
    chains
        Their numbers.
    num_chains
        Chains in all.
    """
    details = {"num_chains": num_chains}
    return Finding("frozen", Severity.PROBLEM, tuple(chains), len(chains), 0, details)


def disagreement(labels: Sequence[str], worst: float, limit: float = RHAT_MAX) -> Finding:
    """That R-hat is above its limit.

    Parameters
    ----------
    labels
        Parameters that it is above of, the worst first.
    worst
        The largest R-hat.
    limit
        What it is compared with.
    """
    severity = Severity.PROBLEM if worst > RHAT_NEAR else Severity.WARNING
    return Finding("rhat", severity, tuple(labels), worst, limit)


def divergences(num_divergent: int, num_steps: int) -> Finding:
    """That some steps are divergent.

    Parameters
    ----------
    num_divergent, num_steps
        How many, of how many.
    """
    details = {"num_steps": num_steps}
    is_many = num_divergent > MAX_DIVERGENT * num_steps
    severity = Severity.WARNING if is_many else Severity.NOTE
    return Finding("divergent", severity, (), num_divergent, MAX_DIVERGENT * num_steps, details)


def _agreement(verdict: Verdict, table: xr.Dataset) -> list[Finding]:
    if math.isnan(verdict.rhat_max):
        if verdict.num_chains == 1:
            return [Finding("one_chain", Severity.NOTE)]
        if verdict.num_constant + verdict.num_nonfinite == verdict.num_parameters:
            return []
        return [Finding("no_rhat", Severity.NOTE, (), verdict.num_draws)]
    if verdict.rhat_max <= RHAT_MAX:
        return [Finding("rhat_ok", Severity.OK, (), verdict.rhat_max, RHAT_MAX)]
    # NaN is not above it
    places = np.flatnonzero(table.rhat.values > RHAT_MAX)
    order = places[np.argsort(-table.rhat.values[places], kind="stable")]
    return [disagreement(_texts(table.parameter.values[order]), verdict.rhat_max)]


def _effective_draws(verdict: Verdict, table: xr.Dataset) -> list[Finding]:
    if math.isnan(verdict.ess_min):
        return []
    needed = verdict.ess_needed
    which = "bulk" if verdict.ess_bulk_min <= verdict.ess_tail_min else "tail"
    details: dict[str, Any] = {"which": which, "more": math.nan}
    # of chains that do not mix, nobody knows how long it takes
    if verdict.num_nonfinite == 0 and verdict.rhat_max <= RHAT_NEAR:
        details["more"] = needed / verdict.ess_min
        details["draws"] = draws_needed(verdict.num_draws, verdict.ess_min, needed)
    if verdict.ess_min >= needed:
        return [Finding("ess_ok", Severity.OK, (), verdict.ess_min, needed, details)]
    ess = np.minimum(table.ess_bulk.values, table.ess_tail.values)
    places = np.flatnonzero(ess < needed)
    order = places[np.argsort(ess[places], kind="stable")]
    labels = _texts(table.parameter.values[order])
    return [Finding("ess", Severity.WARNING, labels, verdict.ess_min, needed, details)]


def verdict_findings(verdict: Verdict, table: xr.Dataset) -> list[Finding]:
    """What a verdict rests on, as findings.

    Parameters
    ----------
    verdict
        As `judge` returns it.
    table
        The `convergence` or `mixing` that it was judged by.

    Examples
    --------
    >>> import arviz as az
    >>> from numpyro_score.diagnostics.convergence import convergence
    >>> from numpyro_score.diagnostics.verdict import judge
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> table = convergence(dt := az.from_dict({"posterior": {"x": x}}))
    >>> [finding.code for finding in verdict_findings(judge(dt, table), table)]
    ['rhat_ok', 'ess_ok']
    """
    found = _values(verdict, table)
    if verdict.is_independent:
        severity = Severity.NOTE if verdict.is_approximate else Severity.OK
        num_draws = verdict.num_chains * verdict.num_draws
        details = {"is_approximate": verdict.is_approximate}
        found.append(Finding("independent", severity, (), num_draws, details=details))
    else:
        found += _agreement(verdict, table) + _effective_draws(verdict, table)
    if verdict.num_divergent:
        found.append(divergences(verdict.num_divergent, verdict.num_chains * verdict.num_draws))
    if verdict.is_approximate:
        details = {"is_independent": verdict.is_independent}
        found.append(Finding("approximate", Severity.NOTE, details=details))
    known = json.loads(table.attrs.get("saturation", "null"))
    found += saturated(known and Saturation(tuple(known[0]), *known[1:]))
    if any(finding.is_flagged for finding in found):
        share = (verdict.num_divergent or 0) / (verdict.num_chains * verdict.num_draws)
        known = table.attrs.get("precision")
        precision = Precision(*known) if known else None
        found += too_coarse(precision, share, verdict.num_stuck_chains / verdict.num_chains)
    if not verdict.is_complete:
        found.append(Finding("interrupted", Severity.NOTE, (), verdict.num_draws))
    return found


def _nonfinite(found: Finding) -> Words:
    return Words(
        f"Some draws of {listed(found.parameters)} are not finite; no statistic of these "
        "parameters can be computed.",
        "Look for an overflow or a division by zero in the model, or run in float64 "
        "(numpyro.enable_x64()).",
    )


def _frozen(found: Finding) -> Words:
    chains = "chain" if len(found.parameters) == 1 else "chains"
    return Words(
        f"{len(found.parameters)} of {found.details['num_chains']} chains never moved: {chains} "
        f"{listed(found.parameters, most=8)}.",
        "Try local_step_size=True (MALA, MAMS), smaller steps or a longer warmup.",
    )


def _about(found: Finding, preposition: str) -> str:
    """The parameters that a sentence is about, if they are known."""
    return f" {preposition} {listed(found.parameters)}" if found.parameters else ""


def _rhat(found: Finding) -> Words:
    length = "" if found.limit == RHAT_MAX else " for a run of this length"
    sentence = (
        f"The chains disagree{_about(found, 'on')}: R-hat is up to {rhat(found.value)} "
        f"(limit {found.limit:.4g}{length})."
    )
    if found.severity is Severity.WARNING:
        return Words(sentence, "Run a longer warmup and draw more.")
    return Words(
        sentence,
        "Do not use these draws. If the traces still drift, warm up and run longer. If each chain "
        "stays at its own level, the posterior has several modes or a narrow region: "
        "reparameterise it, or try another kernel.",
    )


def _wanted(found: Finding) -> str:
    which = found.details["which"]
    return (
        f"the smallest {which} effective sample size is {count(found.value)} (recommended: "
        f"{count(found.limit)}, {ESS_PER_CHAIN} per chain)"
    )


def _ess(found: Finding) -> Words:
    more = found.details["more"]
    advice = ""
    if not math.isnan(more):
        advice = (
            f"Draw about {times(more)} as much, {found.details['draws']:,} draws per chain, or use "
            "a kernel that moves further per step."
        )
    return Words(
        f"There are too few effective draws{_about(found, 'of')}: {_wanted(found)}.",
        advice,
    )


def _divergent(found: Finding) -> Words:
    return Words(
        f"{count(found.value)} of {count(found.details['num_steps'])} steps are marked as "
        "divergent: the sampler could not follow the density, or met a value that is not finite.",
        "Estimates may be biased. Take smaller steps (a higher target_accept_prob), or "
        "reparameterise.",
    )


def _independent(found: Finding) -> Words:
    return Words(
        f"{count(found.value)} independent draws: R-hat and burn-in do not apply.",
        "Judge them by the distance of their distribution from the target; agreement between "
        "chains does not show it." * found.details["is_approximate"],
    )


def _approximate(found: Finding) -> Words:
    if found.details["is_independent"]:
        return Words(
            "This sampler is approximate: its draws come from a distribution that is not the "
            "posterior.",
            "Compare them with the draws of an exact kernel, or take more steps and a better score "
            "until the error does not matter.",
        )
    return Words(
        "This kernel is approximate: its stationary distribution is not the posterior, however "
        "long it runs.",
        "Compare it with an exact kernel, or reduce its step size until the error does not matter.",
    )


def _precision(found: Finding) -> Words:
    energy = found.details["logdensity"]
    if math.isnan(energy):
        return Words(
            "The run was in float32, and most of it failed: the model may need double precision.",
            "Try numpyro.enable_x64().",
        )
    return Words(
        f"Log densities of about {number(energy)} are rounded to multiples of "
        f"{number(found.value, 2)} in float32.",
        "Try numpyro.enable_x64().",
    )


WORDINGS: Wordings = {
    "nonfinite": _nonfinite,
    "all_frozen": lambda _: Words(
        "No chain ever moved.", "Take smaller steps, or start the chains elsewhere."
    ),
    "frozen": _frozen,
    "rhat": _rhat,
    "rhat_ok": lambda found: Words(f"The chains agree: R-hat is at most {rhat(found.value)}."),
    "one_chain": lambda _: Words(
        "There is one chain, so whether it explored the whole posterior cannot be tested.",
        "Run at least 4 chains from different starting points.",
    ),
    "no_rhat": lambda _: Words("There are too few draws to compute R-hat.", "Draw more."),
    "ess": _ess,
    "ess_ok": lambda found: Words(f"There are enough effective draws: {_wanted(found)}."),
    "divergent": _divergent,
    "independent": _independent,
    "approximate": _approximate,
    "interrupted": lambda found: Words(f"Interrupted after {count(found.value)} draws per chain."),
    "precision": _precision,
    "acceptance_missed": missed_words,
    "first_choice": first_choice_words,
    "goal_missed": goal_words,
    "apart": apart_words,
    "early_draws": drift_words,
    "halves": halves_words,
    "saturated": saturated_words,
}
"""Code -> its wording."""
