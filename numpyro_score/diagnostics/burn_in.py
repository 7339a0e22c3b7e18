"""How many draws to drop from the start of every chain, and whether warmup was enough.

Four estimates for every scalar (`start.py`) from warmup and draws together. An initial transient is
*detected* where MSER-5 or Geweke find the first draws off by more than chance explains, at a
false-alarm rate of `FALSE_ALARM` over all scalars and chains (Bonferroni). Only then are draws to
be dropped: as many as the largest of the four estimates, where known. R-hat and the autocorrelation
time alone detect nothing: the one is above its limit for other reasons, the other assumes a start
that is far off.
"""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from numpyro.infer import MCMC

from numpyro_score.diagnostics.autocorrelation import TRUSTED_LENGTH
from numpyro_score.diagnostics.burn_in_findings import COLUMNS, WORDINGS, findings
from numpyro_score.diagnostics.burn_in_section import section
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.outcome import FALSE_ALARM, conclude, skip_notes, with_findings
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.rhat_ess import effective_draws, quiet
from numpyro_score.diagnostics.start import (
    ESTIMATORS,
    MIN_DRAWS,
    NAMES,
    Start,
    estimate,
    plan,
    unknown_start,
)
from numpyro_score.diagnostics.superchains import superchain_ids

DETECTING = ("mser", "geweke")
"""Methods that detect an initial transient."""

Numbers = Float[np.ndarray, "parameter estimator"]


def _recommended(numbers: Numbers) -> float:
    if not numbers.size:
        return math.nan
    detecting = numbers[:, [ESTIMATORS.index(name) for name in DETECTING]]
    if (detecting == 0).all():
        return 0.0
    return math.nan if np.isnan(detecting).any() else float(np.nanmax(numbers))


def _agreement(by_estimator: Float[np.ndarray, " estimator"], has_superchains: bool) -> str:
    """The estimates in a sentence."""
    parts = []
    for method, number in zip(ESTIMATORS, by_estimator, strict=True):
        if method == "rhat_nested" and not has_superchains:
            continue
        parts.append(f"{NAMES[method]} {'unknown' if math.isnan(number) else int(number)}")
    return f"Draws to drop: {', '.join(parts)}."


def _notes(
    starts: Sequence[Start], reasons: Sequence[str], why_no_warmup: str, why_not_nested: str
) -> list[str]:
    notes = []
    if why_no_warmup:
        notes.append(f"Burn-in is estimated from the posterior alone: {why_no_warmup}.")
    known = [start for start, reason in zip(starts, reasons, strict=True) if not reason]
    if any(not start.tau_is_trusted for start in known):
        notes.append(
            "Some autocorrelation times are unreliable: half of a chain is shorter than "
            f"{TRUSTED_LENGTH:.0f} of them."
        )
    # of one chain there is none
    compared = [start for start in known if np.isfinite(start.rhat).any()]
    if any(math.isnan(start.number["rhat"]) for start in compared):
        notes.append(
            "R-hat stays above its limit whatever is dropped from the first half: the chains "
            "differ by more than an initial transient."
        )
    if why_not_nested:
        notes.append(f"Nested R-hat is not computed: {why_not_nested}.")
    return notes


def burn_in(dt: xr.DataTree | MCMC | FlatDraws) -> xr.Dataset:
    """Draws to drop from the start of the chains, by four estimates, for every scalar.

    Counts of draws begin at the first one that is kept: of the warmup, if `dt` has a group
    `warmup_posterior` with the posterior's variables, or else of the posterior.

    Parameters
    ----------
    dt
        Draws: a tree of any origin, a fitted `numpyro.infer.MCMC`, or what `flatten` made of them.
        The root's attribute `superchain_ids` is read if present.

    Returns
    -------
    Dataset with dimensions `parameter`, `chain`, `estimator` (MSER-5, Geweke, autocorrelation time,
    R-hat, nested R-hat) and `dropped` (numbers of draws that are dropped in turn):

    * `num_dropped` (parameter, estimator): draws to drop; NaN where it is unknown, or no
      number in the first half suffices; `by_estimator`: the largest of them
    * `mser`, `mser_is_trusted`, `geweke`, `geweke_z`, `tau_chain` (parameter, chain)
    * `tau`, `tau_is_trusted` (parameter): of the last half, trusted if that is longer than 50 tau
    * `rhat`, `rhat_nested` (parameter, dropped)
    * `recommended`: draws to drop; 0 if no transient is detected, NaN if none in the first half
      suffice; `num_to_drop`: how many of them are draws of the posterior
    * `ess`, `ess_left` (parameter): effective draws (bulk) of the posterior, and of what is left
    * `is_flagged` (parameter): whether the posterior still shows the initial transient
    * `reason` (parameter): why no statistics are computed, or ""

    and the attributes of every diagnostic (`outcome.py`), `num_warmup`, `num_draws` and
    `agreement`, a sentence.

    Raises
    ------
    ValueError
        If there is no posterior.

    Examples
    --------
    >>> import arviz as az
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> result = burn_in(az.from_dict({"posterior": {"x": x + 20 * 0.95 ** np.arange(1000)}}))
    >>> result.attrs["is_flagged"], 50 < result.recommended.item() < 150
    (1, True)
    """
    draws = flatten(dt)
    result = _compute(draws)
    return with_findings(result, findings(result, None), WORDINGS)


def _compute(draws: FlatDraws) -> xr.Dataset:
    early, why_no_warmup = draws.warmup
    num_chains, num_draws = draws.num_chains, draws.num_draws
    num_warmup = 0 if early is None else early.shape[2]
    ids, why_not_nested = superchain_ids(draws.dt, num_chains)
    # a test for every chain, and one for all together
    false_alarm = FALSE_ALARM / (len(draws.labels) * (num_chains + 1))
    scan = plan(num_warmup + num_draws, num_warmup, false_alarm, ids)

    reasons, starts, ess = [], [], []
    known = draws.skip_reasons(0)
    with quiet():
        for place in range(len(draws.values)):
            both = draws.with_warmup(place)
            reason = known[place] or _reason(both)
            reasons.append(reason)
            starts.append(unknown_start(num_chains, scan) if reason else estimate(both, scan))
            ess.append(math.nan if reason else float(draws.ess_bulk[place]))
        is_known = np.array([not reason for reason in reasons])
        numbers = np.array([[start.number[name] for name in ESTIMATORS] for start in starts])
        by_estimator = numbers[is_known].max(axis=0, initial=0.0) if is_known.any() else numbers[0]
        recommended = _recommended(numbers[is_known])
        num_to_drop = float(np.maximum(recommended - num_warmup, 0.0))
        ess_left = ess
        # NaN is not above 0
        if num_to_drop > 0:
            left = draws.values[..., int(num_to_drop) :]
            ess_left = [
                math.nan if reason else float(effective_draws(values, "bulk"))
                for values, reason in zip(left, reasons, strict=True)
            ]
    detecting = numbers[:, [ESTIMATORS.index(name) for name in DETECTING]]
    is_flagged: Bool[np.ndarray, " parameter"] = is_known & ~(detecting <= num_warmup).all(axis=1)

    def stacked(field: str) -> np.ndarray:
        return np.array([getattr(start, field) for start in starts])

    each, chain, cut = ("parameter",), ("parameter", "chain"), ("parameter", "dropped")
    return conclude(
        {
            "num_dropped": (("parameter", "estimator"), numbers, "draws to drop", "draws"),
            "by_estimator": (
                ("estimator",),
                by_estimator,
                "draws to drop for all parameters",
                "draws",
            ),
            "mser": (chain, stacked("mser"), "MSER-5 truncation", "draws"),
            "mser_is_trusted": (chain, stacked("mser_is_trusted"), "MSER-5 in first half", ""),
            "geweke": (chain, stacked("geweke"), "draws to drop by Geweke", "draws"),
            "geweke_z": (chain, stacked("geweke_z"), "Geweke's z after warmup", "standard errors"),
            "tau": (each, stacked("tau"), "integrated autocorrelation time", "draws"),
            "tau_is_trusted": (
                each,
                stacked("tau_is_trusted"),
                "last half is longer than 50 tau",
                "",
            ),
            "tau_chain": (chain, stacked("tau_chain"), "integrated autocorrelation time", "draws"),
            "rhat": (cut, stacked("rhat"), "R-hat of what is left", ""),
            "rhat_nested": (cut, stacked("rhat_nested"), "nested R-hat of what is left", ""),
            "recommended": ((), recommended, "draws to drop, warmup included", "draws"),
            "num_to_drop": ((), num_to_drop, "draws of the posterior to drop", "draws"),
            "ess": (each, ess, "bulk effective sample size", "draws"),
            "ess_left": (each, ess_left, "bulk effective sample size of what is left", "draws"),
            "is_flagged": (each, is_flagged, "still shows the initial transient", ""),
            "reason": (each, reasons, "why no statistics are computed", ""),
        },
        {"parameter": draws.labels, "estimator": list(ESTIMATORS), "dropped": scan.rhat_cuts},
        notes=[
            *skip_notes(draws.labels, reasons),
            *_notes(starts, reasons, why_no_warmup, why_not_nested),
        ],
        agreement=_agreement(by_estimator, ids is not None),
        num_warmup=num_warmup,
        num_draws=num_draws,
    )


def _reason(both: Float[np.ndarray, "chain draw"]) -> str:
    """Why nothing can be estimated from warmup and draws of a scalar that varies, or ""."""
    if not np.isfinite(both).all():
        return "draws that are not finite"
    return f"fewer than {MIN_DRAWS} draws per chain" if both.shape[1] < MIN_DRAWS else ""


def _record(draws: FlatDraws, given: Given) -> xr.Dataset:
    del given
    return burn_in(draws)


BURN_IN = Diagnostic(
    name="burn_in",
    anchor="burn-in",
    is_of_target=False,
    compute=_record,
    findings=findings,
    wordings=WORDINGS,
    columns=COLUMNS,
    section=section,
)
