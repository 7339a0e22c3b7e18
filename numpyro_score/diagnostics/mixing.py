"""Whether chains mixed: effective sample sizes, R-hat, nested R-hat, R*, and sampler statistics.

ESS, R-hat, nested R-hat and MCSE are those of arviz-stats; the limits of R-hat and ESS those of
`verdict.py`, that of nested R-hat is in `superchains.py`; R* is flagged at a false-alarm rate of
`FALSE_ALARM`. An acceptance below half of its target is flagged: a Langevin kernel whose acceptance
is the same everywhere loses a quarter of its efficiency there (`h(a) = a |Phi^-1(a / 2)|^(2/3)`,
Roberts and Rosenthal 1998, doi:10.1111/1467-9868.00123), one whose acceptance varies is stuck in
some regions. Too high an acceptance costs effective draws, and shows in them.
"""

import json
import math
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Float, Int
from numpyro.infer import MCMC

from numpyro_score.diagnostics.acceptance import tuned_acceptance
from numpyro_score.diagnostics.autocorrelation import TRUSTED_LENGTH, autocorrelation_time
from numpyro_score.diagnostics.convergence import all_statistics
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.mixing_findings import COLUMNS, WORDINGS, findings
from numpyro_score.diagnostics.mixing_section import section
from numpyro_score.diagnostics.outcome import conclude, skip_notes, with_findings
from numpyro_score.diagnostics.precision import precision_of
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.rejection import longest_rejection
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, quiet
from numpyro_score.diagnostics.rstar import RStar, thinning, try_rstar
from numpyro_score.diagnostics.saturation import at_bounds
from numpyro_score.diagnostics.superchains import rhat_limit, superchain_ids
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, RHAT_MAX, judge

DESCRIPTIONS = {
    "ess_bulk": ("bulk effective sample size", "draws"),
    "ess_tail": ("tail effective sample size", "draws"),
    "rhat": ("R-hat", ""),
    "rhat_nested": ("nested R-hat", ""),
    "rhat_nested_limit": ("limit of nested R-hat", ""),
    "tau": ("integrated autocorrelation time", "draws"),
    "tau_is_trusted": ("chains are longer than 50 tau", ""),
    "mean": ("mean", "of the parameter"),
    "mcse": ("Monte Carlo standard error of the mean", "of the parameter"),
    "sd": ("standard deviation", "of the parameter"),
    "is_finite": ("all draws are finite", ""),
    "is_constant": ("constant up to rounding", ""),
}
"""What is computed for each parameter: name -> what it is, and its units."""


def _row(
    values: Float[np.ndarray, "chain draw"],
    known: dict[str, float | bool],
    ids: Int[np.ndarray, " chain"] | None,
) -> dict[str, float | bool]:
    """The row of `convergence` for a scalar, and more."""
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


def _acceptance(draws: FlatDraws) -> tuple[Float[np.ndarray, " chain"], float, str]:
    """Mean acceptance of every chain, its target, and what is missing."""
    dt = draws.dt
    stats = dt["sample_stats"].data_vars if "sample_stats" in dt.children else {}
    target = float(dt.attrs.get("target_accept_prob", math.nan))
    found = tuned_acceptance(stats)
    if found is None:
        return np.full(draws.num_chains, np.nan), target, "no acceptance rate is recorded"
    rate = found.mean("draw").values.astype(np.float64)
    return rate, target, "no target acceptance rate is recorded" if math.isnan(target) else ""


def _compute(draws: FlatDraws, *, with_rstar: bool, classifier: Any, seed: int) -> xr.Dataset:
    num_chains, num_draws = draws.num_chains, draws.num_draws
    ids, why_not_nested = superchain_ids(draws.dt, num_chains)
    step = thinning(num_chains, num_draws)
    reasons = draws.skip_reasons(MIN_DRAWS)
    with quiet():
        rows = [
            _row(values, known, ids)
            for values, known in zip(draws.values, all_statistics(draws), strict=True)
        ]
    taus = [float(row["tau"]) for row in rows if not math.isnan(row["tau"])]
    if with_rstar:
        thinned = [
            values[:, ::step]
            for values, reason in zip(draws.values, reasons, strict=True)
            if not reason
        ]
        tau = max(taus, default=1.0) / step
        rstar, why_no_rstar = try_rstar(thinned, tau, classifier=classifier, seed=seed)
    else:
        rstar, why_no_rstar = RStar(math.nan, math.nan, math.nan), "it was not asked for"
    acceptance, target, why_no_acceptance = _acceptance(draws)
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
            "longest_rejection": (
                chain,
                longest_rejection(draws.has_moved),
                "longest sequence of steps without a move",
                "steps",
            ),
            "acceptance": (chain, acceptance, "mean acceptance rate", ""),
            "target_acceptance": ((), target, "target acceptance rate", ""),
            "reason": (each, reasons, "why no statistics are computed", ""),
        },
        {"parameter": draws.labels, "chain": draws.data.chain.values},
        notes=skip_notes(draws.labels, reasons),
        num_draws=num_draws,
        ess_needed=ESS_PER_CHAIN * num_chains,
        frozen_chains=draws.frozen_chains,
        # empty where it is better than float32
        precision=list(precision_of(draws.dt, draws.data) or ()),
        saturation=json.dumps(at_bounds(draws.dt, draws.data)),
        # counted as integers, for attributes are kept in files
        num_stuck_chains=len(draws.frozen_chains),
    )
    missing = {
        "R-hat": "there is one chain" if num_chains == 1 else "",
        "Nested R-hat": why_not_nested,
        "R*": why_no_rstar,
        "Acceptance against its target": why_no_acceptance,
    }
    table.attrs["notes"] += [
        f"{name} is not computed: {why}." for name, why in missing.items() if why
    ]
    if (np.isfinite(table.tau) & ~table.tau_is_trusted).any():
        table.attrs["notes"].append(
            "Some autocorrelation times are unreliable: the chains are shorter than "
            f"{TRUSTED_LENGTH:.0f} of them."
        )
    # NaN is not above a limit
    is_flagged = (
        ~table.is_finite.values
        | (table.rhat > RHAT_MAX).values
        | (table.rhat_nested > table.rhat_nested_limit).values
        | (np.minimum(table.ess_bulk, table.ess_tail) < table.attrs["ess_needed"]).values
    )
    return table.assign(is_flagged=(each, is_flagged, {"long_name": "has not mixed", "units": ""}))


def mixing(
    dt: xr.DataTree | MCMC | FlatDraws,
    *,
    with_rstar: bool = True,
    classifier: Any = None,
    seed: int = 0,
) -> xr.Dataset:
    """Whether the chains mixed, by everything that can be computed from draws.

    Parameters
    ----------
    dt
        Draws: a tree of any origin, a fitted `numpyro.infer.MCMC`, or what `flatten` made of them.
        The sample statistics `acceptance_rate` and `diverging` and the root's attributes
        `target_accept_prob` and `superchain_ids` are read if present.
    with_rstar
        Whether to compute R*, which takes longest where there are many parameters.
    classifier
        For R*: a scikit-learn classifier; None for extremely randomized trees.
    seed
        Of R*'s trees.

    Returns
    -------
    Dataset with dimensions `parameter` and `chain`:

    * `DESCRIPTIONS` (parameter): the variables of `convergence`, `mcse` of the mean, `tau` (window
      5) and whether it is trusted (chains longer than 50 tau), nested R-hat and its limit
    * `rstar`, `rstar_se`, `rstar_p_value`: R*, its standard error, and the probability of one as
      large for chains with the same distribution
    * `longest_rejection` (chain): most consecutive steps without a move
    * `acceptance` (chain), `target_acceptance`
    * `is_flagged` (parameter), `reason` (parameter): why no statistics are computed, or ""

    and the attributes of every diagnostic (`outcome.py`), `num_draws`, `ess_needed` and
    `frozen_chains`.

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
    draws = flatten(dt)
    table = _compute(draws, with_rstar=with_rstar, classifier=classifier, seed=seed)
    return with_findings(table, findings(table, judge(draws, table)), WORDINGS)


def _record(draws: FlatDraws, given: Given) -> xr.Dataset:
    del given
    return mixing(draws)


MIXING = Diagnostic(
    name="mixing",
    anchor="mixing",
    is_of_target=False,
    compute=_record,
    findings=findings,
    wordings=WORDINGS,
    columns=COLUMNS,
    section=section,
)
