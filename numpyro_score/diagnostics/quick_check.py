"""A check of a run that is cheap enough for the end of every run, and the warning that it gives.

R-hat of thinned draws, chains that never moved, divergences, tails in which proposals are rejected,
modes that no chain visited if they were looked for, and whether float32 is the likely cause.
Findings have the codes and the words of the full diagnostics (`assess`), but the limit of R-hat
allows for short runs, so that well mixed chains give no warning: with `K` half chains, each of `e`
effective draws, `(K - 1) e (R-hat^2 - 1)` is about chi2 with `K - 1` degrees of freedom, and the
limit is

    sqrt(RHAT_MAX^2 + q / ((K - 1) e)),

with `q` its upper quantile at `FALSE_ALARM` divided by the number of parameters, and `e` the length
of half a chain divided by its autocorrelation time, which counts up to `MAX_TAU`. Chains whose
R-hat is above the limit differ, or have an autocorrelation time too long for their length. What
many chains have in common, a drift from their start, is looked for apart (`drift.py`).
"""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.acceptance import missed_acceptance, tuned_acceptance
from numpyro_score.diagnostics.apart import apart
from numpyro_score.diagnostics.drift import drift_finding, largest_drift
from numpyro_score.diagnostics.elsewhere import WORDINGS as OF_SEARCH
from numpyro_score.diagnostics.elsewhere import elsewhere
from numpyro_score.diagnostics.finding import Finding, Severity, by_severity
from numpyro_score.diagnostics.goal import kept_first_choice, missed_goal
from numpyro_score.diagnostics.halves import disagreeing_halves
from numpyro_score.diagnostics.jumps import LONG_REFUSAL, jump_tail
from numpyro_score.diagnostics.jumps_findings import WORDINGS as OF_JUMPS
from numpyro_score.diagnostics.jumps_findings import heavy_tail, refused_jumps
from numpyro_score.diagnostics.outcome import FALSE_ALARM
from numpyro_score.diagnostics.posterior import label_of, num_divergent, posterior
from numpyro_score.diagnostics.precision import precision_of, too_coarse
from numpyro_score.diagnostics.quick_scan import Scan, scan, strides
from numpyro_score.diagnostics.saturation import at_bounds, saturated
from numpyro_score.diagnostics.superchains import rhat_limit
from numpyro_score.diagnostics.tail_acceptance import (
    ACCEPTANCE,
    of_log_density,
    rejected_tails,
    statistics_of,
)
from numpyro_score.diagnostics.tail_acceptance import WORDINGS as OF_TAILS
from numpyro_score.diagnostics.verdict import INDEPENDENT
from numpyro_score.diagnostics.verdict_findings import (
    MAX_DIVERGENT,
    disagreement,
    divergences,
    frozen_chains,
)
from numpyro_score.diagnostics.verdict_findings import WORDINGS as OF_VERDICT
from numpyro_score.diagnostics.wording import remark

MAX_TAU = 15.0
"""Autocorrelation time, in draws, that a well mixed run is allowed."""

TAU_ERROR = 1.5
"""Factor that allows for the error of an autocorrelation time estimated from a short run."""

WORDINGS = {**OF_VERDICT, **OF_JUMPS, **OF_TAILS, **OF_SEARCH}
"""Code -> wording, of all that can be found here."""

WITH_ADVICE = (
    "early_draws",
    "elsewhere",
    "first_choice",
    "frozen",
    "goal_missed",
    "halves",
    "precision",
    "saturated",
    "tail_acceptance",
)
"""Codes of findings whose advice is as much a part of the message as what was found."""

ALL_ACCEPTED = 0.99
"""Acceptance rate of a sampler that has nothing to sample, at least."""

PACKAGE = str(Path(__file__).parents[1])


class ConvergenceWarning(UserWarning):
    """Draws of a run that should not be used without a closer look.

    Parameters
    ----------
    message
        What was found.

    Examples
    --------
    >>> issubclass(ConvergenceWarning, UserWarning)
    True
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


def _limit(num_chains: int, num_kept: int, num_tests: int, tau: float) -> float:
    """R-hat that well mixed chains of some length do not exceed."""
    return float(rhat_limit(2 * num_chains, num_kept / 2 / tau, max(num_tests, 1)))


def _apart(data: xr.Dataset, found_in: Scan, num_kept: int, *, longest: float) -> list[Finding]:
    """That R-hat of some parameters is above what their length explains, if it is."""
    above = []
    is_single = data.sizes["chain"] == 1
    num_chains, num_kept = (2, num_kept // 2) if is_single else (data.sizes["chain"], num_kept)
    for one in found_in.rhats:
        tau = float(np.clip(TAU_ERROR * one.tau, 1.0, longest))
        limit = _limit(num_chains, num_kept, found_in.num_varying, tau)
        if one.value > limit:
            above.append((one, limit))
    if not above:
        return []
    labels = tuple(label_of(data, one.name, one.place) for one, _ in above)
    worst = above[0][0].value, above[0][1]
    if is_single:
        return [disagreeing_halves(labels, *worst)]
    found = [disagreement(labels, *worst)]
    places = [place for place, (one, _) in enumerate(above) if one.num_apart]
    if places:
        found.append(apart(labels[places[0]], above[places[0]][0].num_apart, num_chains))
    return found


def _drifting(data: xr.Dataset, found_in: Scan) -> list[Finding]:
    """That the early draws of all chains shift the mean, if they do."""
    limit = largest_drift(data.sizes["chain"], found_in.num_varying, FALSE_ALARM)
    above = [one for one in found_in.drifts if one.distance > limit]
    if not above:
        return []
    labels = tuple(label_of(data, one.name, one.place) for one in above)
    return [drift_finding(labels, above[0].distance, limit)]


def _rejected(data: xr.Dataset, found_in: Scan, known: Mapping[str, np.ndarray]) -> list[Finding]:
    """That proposals are rejected in the tails of some parameters, if they are."""
    tails = [one.tail.named(label_of(data, one.name, one.place)) for one in found_in.tails[:100]]
    tails += of_log_density(known)
    return rejected_tails(tails, float(known[ACCEPTANCE].mean()))


def quick_check(dt: xr.DataTree) -> list[Finding]:
    """What is wrong with a run, by a check of a second or so; nothing if it looks fine.

    Parameters
    ----------
    dt
        Draws, of any origin. Of a store, variables are read one at a time, thinned.

    Returns
    -------
    Findings with the codes `nonfinite`, `frozen` or `all_frozen`, `rhat` or `halves`, `apart`,
    `divergent`, `refused`, `heavy_tail`, `acceptance_missed`, `tail_acceptance`, `elsewhere`,
    `saturated`, `goal_missed`, `first_choice`, `early_draws` and `precision`, the most severe
    first.

    Raises
    ------
    ValueError
        If there is no posterior.

    Examples
    --------
    >>> import arviz as az
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> quick_check(az.from_dict({"posterior": {"x": x}}))
    []
    >>> x[2] = 3.0
    >>> [found.code for found in quick_check(az.from_dict({"posterior": {"x": x}}))]
    ['frozen', 'rhat']
    """
    data = posterior(dt)
    num_chains, num_draws = data.sizes["chain"], data.sizes["draw"]
    statistics = dt["sample_stats"].to_dataset() if "sample_stats" in dt.children else xr.Dataset()
    step, part = strides(data)
    num_kept = -(-num_draws // step)
    is_independent = bool(dt.attrs.get(INDEPENDENT, False))
    known = {} if is_independent else statistics_of(data, statistics.data_vars, step // part)
    found_in = scan(data, step, num_kept, part, known.get(ACCEPTANCE))
    found = []
    if found_in.nonfinite:
        labels = tuple(label_of(data, name, place) for name, place in found_in.nonfinite[:100])
        found.append(Finding("nonfinite", Severity.PROBLEM, labels))
    frozen = data.chain.values[~found_in.has_moved] if num_kept > 1 else data.chain.values[:0]
    # a model without anything to sample has nothing that could move, and no move is rejected
    if len(frozen) == num_chains and (found_in.num_varying or _rejects(statistics)):
        found.append(Finding("all_frozen", Severity.PROBLEM))
    elif 0 < len(frozen) < num_chains:
        found.append(frozen_chains([str(chain) for chain in frozen], num_chains))
    # of independent draws R-hat says nothing
    if not is_independent:
        found += _apart(data, found_in, num_kept, longest=max(MAX_TAU / step, 1.0))
    # all steps count, also where the draws are a part of them
    num_steps = statistics["diverging"].size if "diverging" in statistics else 1
    divergent = num_divergent(statistics) or 0
    if divergent > MAX_DIVERGENT * num_steps:
        found.append(divergences(divergent, num_steps))
    if "longest_rejection" in statistics:
        # a running maximum
        longest = statistics["longest_rejection"].isel(draw=-1).values
        chains = [str(chain) for chain in data.chain.values[longest >= LONG_REFUSAL]]
        if chains:
            found.append(refused_jumps(chains, float(longest.max()), num_chains))
    found += heavy_tail(jump_tail(statistics))
    acceptance = tuned_acceptance(statistics.data_vars)
    if acceptance is not None:
        target = dt.attrs.get("target_accept_prob", math.nan)
        found += missed_acceptance(float(acceptance.mean()), target)
    if ACCEPTANCE in known:
        found += _rejected(data, found_in, known)
    found += elsewhere(dt.attrs)
    found += saturated(at_bounds(dt, data))
    if all(one.code not in ("rhat", "halves") for one in found):
        found += missed_goal(dt.attrs)
        if not is_independent and found_in.drifts:
            found += _drifting(data, found_in)
    found += kept_first_choice(dt.attrs, {one.code for one in found})
    if found:
        share = divergent / num_steps
        found += too_coarse(precision_of(dt, data), share, len(frozen) / num_chains)
    return by_severity(found)


def _rejects(statistics: xr.Dataset) -> bool:
    """Whether the sampler rejects moves, as it does where the float type resolves none."""
    if "acceptance_rate" not in statistics:
        return True
    return float(statistics["acceptance_rate"].mean()) < ALL_ACCEPTED


def warning_text(findings: list[Finding]) -> str:
    """Findings of `quick_check` in two or three lines.

    Parameters
    ----------
    findings
        At least one.

    Examples
    --------
    >>> print(warning_text([disagreement(["tau"], 1.6)]))
    The chains disagree on tau: R-hat is up to 1.600 (limit 1.01).
    For more: numpyro_score.diagnostics.assess(dt), numpyro_score.write_report(dt, "report.html").
    """
    said = [remark(finding, WORDINGS) for finding in findings]
    texts = [
        f"{one.finding} {one.advice}" if finding.code in WITH_ADVICE else one.finding
        for finding, one in zip(findings, said, strict=True)
    ]
    more = 'numpyro_score.diagnostics.assess(dt), numpyro_score.write_report(dt, "report.html")'
    return f"{' '.join(texts)}\nFor more: {more}."


def warn_if_not_converged(dt: xr.DataTree) -> list[Finding]:
    """Give one `ConvergenceWarning` if a quick check finds something wrong with a run.

    Parameters
    ----------
    dt
        Draws, of any origin.

    Returns
    -------
    As `quick_check`.

    Raises
    ------
    ValueError
        If there is no posterior.

    Examples
    --------
    >>> import arviz as az
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> warn_if_not_converged(az.from_dict({"posterior": {"x": x}}))
    []
    """
    findings = quick_check(dt)
    if findings:
        # at the line of the user's code that made the draws
        warnings.warn(warning_text(findings), ConvergenceWarning, skip_file_prefixes=(PACKAGE,))
    return findings
