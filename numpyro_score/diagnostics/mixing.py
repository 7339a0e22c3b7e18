"""Whether chains mixed: effective sample sizes, R-hat and its kin, and what the sampler did.

ESS, R-hat, nested R-hat and MCSE are those of arviz-stats; the limits of R-hat and ESS those of
`verdict.py`, that of nested R-hat is in `superchains.py`, that of R* a probability of a false alarm
of `FALSE_ALARM`. An acceptance below half of its target is flagged: a Langevin kernel that is alike
everywhere loses a quarter of its speed there (`h(a) = a Phi^-1(a / 2)^(2/3)`, Roberts and Rosenthal
1998, doi:10.1111/1467-9868.00123), one that is not is stuck in places. Too high an acceptance costs
effective draws, and shows in them.
"""

import math
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Float, Int

from numpyro_score.diagnostics.autocorrelation import TRUSTED_LENGTH, autocorrelation_time
from numpyro_score.diagnostics.draws import posterior, problem, scalars
from numpyro_score.diagnostics.outcome import FALSE_ALARM, conclude, named, reasons_in_words
from numpyro_score.diagnostics.rejection import MAX_SHARE, longest_rejection
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, quiet, statistics
from numpyro_score.diagnostics.rstar import RStar, thinning, try_rstar
from numpyro_score.diagnostics.superchains import rhat_limit, superchain_ids
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, RHAT_MAX

LEAST_ACCEPTANCE = 0.5
"""Part of its target that the acceptance of a chain may fall to."""

DESCRIPTIONS = {
    "ess_bulk": ("bulk effective sample size", "draws"),
    "ess_tail": ("tail effective sample size", "draws"),
    "rhat": ("R-hat", ""),
    "rhat_nested": ("nested R-hat", ""),
    "rhat_nested_limit": ("limit of nested R-hat", ""),
    "tau": ("integrated autocorrelation time", "draws"),
    "tau_is_trusted": ("chains are past 50 tau", ""),
    "mean": ("mean", "of the parameter"),
    "mcse": ("Monte Carlo standard error of the mean", "of the parameter"),
    "sd": ("standard deviation", "of the parameter"),
    "is_finite": ("all draws are finite", ""),
    "is_constant": ("never changes", ""),
}
"""What is known of each parameter: name -> what it is, and its units."""


def _row(
    values: Float[np.ndarray, "chain draw"],
    known: dict[str, float | bool],
    ids: Int[np.ndarray, " chain"] | None,
) -> dict[str, float | bool]:
    """What `convergence` says about a scalar, and more."""
    ess = known["ess_bulk"]
    more = dict.fromkeys(("mcse", "tau", "rhat_nested", "rhat_nested_limit"), math.nan)
    if math.isnan(ess):
        return known | more | {"tau_is_trusted": False}
    time, _ = autocorrelation_time(values)
    more["mcse"] = float(array_stats.mcse(values, method="mean"))
    more["tau"] = float(time.tau)
    if ids is not None:
        num_superchains = int(ids.max()) + 1
        more["rhat_nested"] = float(array_stats.rhat_nested(values, ids))
        limit = rhat_limit(num_superchains, np.asarray(ess / num_superchains))
        more["rhat_nested_limit"] = float(limit)
    return known | more | {"tau_is_trusted": bool(time.is_trusted)}


def _acceptance(dt: xr.DataTree) -> tuple[Float[np.ndarray, " chain"], float, str]:
    """Mean acceptance of every chain, its target, and what is missing."""
    stats = dt["sample_stats"].data_vars if "sample_stats" in dt.children else {}
    target = float(dt.attrs.get("target_accept_prob", math.nan))
    if "acceptance_rate" not in stats:
        num_chains = dt["posterior"].sizes["chain"]
        return np.full(num_chains, np.nan), target, "no acceptance rate is recorded"
    rate = stats["acceptance_rate"].mean("draw").values.astype(np.float64)
    return rate, target, "no target of the acceptance is recorded" if math.isnan(target) else ""


def _on_chains(table: xr.Dataset) -> list[str]:
    """What is wrong with single chains."""
    findings = []
    num_draws = table.attrs["num_draws"]
    longest = table.longest_rejection
    stuck = table.chain.values[(longest >= max(num_draws - 1, 1)).values]
    # fewer draws than are wanted say nothing about their shares
    still = table.chain.values[(longest > MAX_SHARE * max(num_draws, ESS_PER_CHAIN)).values]
    if stuck.size:
        findings.append(f"Chains that never moved: {named(stuck)}.")
    if still.size > stuck.size:
        findings.append(
            f"Chains stood still for up to {int(longest.max())} of {num_draws} steps (limit "
            f"{MAX_SHARE:.0%} of them): {named(still)}."
        )
    is_low = table.acceptance < LEAST_ACCEPTANCE * table.target_acceptance
    if is_low.any():
        findings.append(
            f"Acceptance falls to {table.acceptance.min().item():.2f}, below half of its target "
            f"{table.target_acceptance.item():.2f}, in chains {named(table.chain.values[is_low])}."
        )
    return findings


def _findings(table: xr.Dataset, faults: dict[str, xr.DataArray]) -> list[str]:
    def which(fault: str) -> str:
        labels = table.parameter.values[faults[fault].values]
        return named(labels) if labels.size else ""

    findings = _on_chains(table)
    if labels := which("nonfinite"):
        findings.append(f"There are draws that are not finite of {labels}.")
    if labels := which("apart"):
        findings.append(
            f"The chains disagree on {labels}: R-hat is up to {table.rhat.max().item():.3f} (limit "
            f"{RHAT_MAX})."
        )
    if labels := which("superchains_apart"):
        worst = table.rhat_nested.max().item()
        findings.append(f"The superchains disagree on {labels}: nested R-hat is up to {worst:.3f}.")
    if labels := which("few"):
        least = np.minimum(table.ess_bulk, table.ess_tail).min().item()
        findings.append(
            f"There are too few effective draws of {labels}: {least:.0f}, where "
            f"{table.attrs['ess_needed']} are wanted ({ESS_PER_CHAIN} a chain)."
        )
    if table.rstar_p_value < FALSE_ALARM:
        findings.append(
            f"A classifier can tell the chains apart: R* is {table.rstar.item():.2f} with a "
            f"standard error of {table.rstar_se.item():.2f}, where 1 is chance."
        )
    return findings


def mixing(
    dt: xr.DataTree, *, with_rstar: bool = True, classifier: Any = None, seed: int = 0
) -> xr.Dataset:
    """Whether the chains mixed, by everything there is to tell it from draws.

    Parameters
    ----------
    dt
        Draws, of any origin. The sample statistic `acceptance_rate` and the root's attributes
        `target_accept_prob` and `superchain_ids` are read, where there.
    with_rstar
        Whether to compute R*, which takes longest where there are many parameters.
    classifier
        For R*: a scikit-learn classifier; None for extremely randomized trees.
    seed
        Of R*'s trees.

    Returns
    -------
    Dataset with dimensions `parameter` and `chain`:

    * `DESCRIPTIONS` (parameter): what `convergence` says, `mcse` of the mean, `tau` (window 5) and
      whether it is trusted (past 50 tau draws a chain), nested R-hat and its limit
    * `rstar`, `rstar_se`, `rstar_p_value`: R*, its standard error, and how likely one as large is
      where chains are alike
    * `longest_rejection` (chain): most consecutive steps without a move
    * `acceptance` (chain), `target_acceptance`
    * `is_flagged` (parameter), `reason` (parameter): why there is nothing, or ""

    and the attributes of every diagnostic (`outcome.py`), `num_draws` and `ess_needed`.

    Raises
    ------
    ValueError
        If there is no posterior.

    Examples
    --------
    >>> import arviz as az
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> mixing(az.from_dict({"posterior": {"x": x}})).attrs["findings"]
    []
    >>> x[0] += 0.5
    >>> mixing(az.from_dict({"posterior": {"x": x}})).attrs["findings"][0]
    'The chains disagree on x: R-hat is up to 1.0... (limit 1.01).'
    """
    data = posterior(dt)
    num_chains, num_draws = data.sizes["chain"], data.sizes["draw"]
    ids, why_not_nested = superchain_ids(dt, num_chains)
    step = thinning(num_chains, num_draws)
    labels, reasons, rows, thinned = [], [], [], []
    has_moved = np.zeros((num_chains, num_draws - 1), bool)
    with quiet():
        for scalar in scalars(data):
            reason = problem(scalar.values, MIN_DRAWS)
            labels.append(scalar.label)
            reasons.append(reason)
            rows.append(_row(scalar.values, statistics(scalar), ids))
            has_moved |= np.diff(scalar.values, axis=1) != 0
            if with_rstar and not reason:
                thinned.append(scalar.values[:, ::step])
    tau = max([row["tau"] for row in rows if not math.isnan(row["tau"])], default=1.0)
    if with_rstar:
        rstar, why_no_rstar = try_rstar(thinned, tau / step, classifier=classifier, seed=seed)
    else:
        rstar, why_no_rstar = RStar(math.nan, math.nan, math.nan), "it was not asked for"
    acceptance, target, why_no_acceptance = _acceptance(dt)
    each, chain = ("parameter",), ("chain",)
    table = conclude(
        {
            **{
                name: (each, [row[name] for row in rows], *words)
                for name, words in DESCRIPTIONS.items()
            },
            "rstar": ((), rstar.value, "R*", ""),
            "rstar_se": ((), rstar.standard_error, "standard error of R*", ""),
            "rstar_p_value": ((), rstar.p_value, "p-value of R*", ""),
            "longest_rejection": (chain, longest_rejection(has_moved), "longest stand", "steps"),
            "acceptance": (chain, acceptance, "mean acceptance rate", ""),
            "target_acceptance": ((), target, "target of the acceptance rate", ""),
            "reason": (each, reasons, "why there is nothing", ""),
        },
        {"parameter": labels, "chain": data.chain.values},
        findings=[],
        notes=[],
        num_draws=num_draws,
        ess_needed=ESS_PER_CHAIN * num_chains,
    )
    # NaN is not above a limit
    faults = {
        "nonfinite": ~table.is_finite,
        "apart": table.rhat > RHAT_MAX,
        "superchains_apart": table.rhat_nested > table.rhat_nested_limit,
        "few": np.minimum(table.ess_bulk, table.ess_tail) < table.attrs["ess_needed"],
    }
    notes = reasons_in_words(labels, reasons)
    missing = {
        "R-hat": "there is one chain" if num_chains == 1 else "",
        "Nested R-hat": why_not_nested,
        "R*": why_no_rstar,
        "Acceptance against its target": why_no_acceptance,
    }
    notes += [f"{name} is not computed: {why}." for name, why in missing.items() if why]
    if (np.isfinite(table.tau) & ~table.tau_is_trusted).any():
        notes.append(
            "Some autocorrelation times are not to be trusted: chains are shorter than "
            f"{TRUSTED_LENGTH:.0f} of them."
        )
    findings = _findings(table, faults)
    is_flagged = np.logical_or.reduce([fault.values for fault in faults.values()])
    described = {"long_name": "has not mixed", "units": ""}
    return table.assign(is_flagged=(each, is_flagged, described)).assign_attrs(
        is_flagged=int(bool(findings)), findings=findings, notes=notes
    )
