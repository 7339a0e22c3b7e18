"""Which modes the draws are in, in what proportion, and how often chains jump between them.

Modes are found in the draws (`clustering.py`) or given by their centres; every draw is in one of
them. Chains that never moved make no mode of their own. The share of a mode is the mean of an
indicator, with the Monte Carlo standard error of arviz-stats, which allows for the autocorrelation
that rare jumps make. Two things are flagged:

* Chains that are in modes for different shares of the time, `sum_c (p_c - p)^2 N / (p (1 - p) tau)`
  above the quantile of chi^2 with one degree of freedom less than chains; `tau` is the
  autocorrelation time of the indicator within chains. Chains that differ and never jump, always.
* Indicators with fewer effective draws than are recommended for a parameter (`verdict.py`) of four
  chains, or as many as there are if they are fewer: there are too few jumps for reliable shares.
  A share is pooled over all chains, so that its precision does not ask for 100 of each.

The entropic coverage is the entropy of the shares in units of its largest value, 1 if all modes
hold as many draws and 0 if one holds all (Blessing et al., Beyond ELBOs, 2024, arXiv:2406.07423).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Bool, Float, Int
from numpyro.infer import MCMC
from scipy import stats
from scipy.special import entr

from numpyro_score.diagnostics.autocorrelation import autocorrelation_time
from numpyro_score.diagnostics.clustering import MAX_DRAWS, MIN_WEIGHT, Clusters, find_modes
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.elsewhere import FOUND, LOOKED
from numpyro_score.diagnostics.jumps import no_jumps, read_jumps
from numpyro_score.diagnostics.modes_findings import COLUMNS, WORDINGS, ess_needed, findings
from numpyro_score.diagnostics.modes_section import section
from numpyro_score.diagnostics.outcome import conclude, skip_notes, with_findings
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.relabelled import rearranged
from numpyro_score.diagnostics.rhat_ess import quiet
from numpyro_score.learned.preparation import LEARNING_WARNINGS, ONE_SIDED

MIN_DRAWS = 4
"""Draws per chain below which no modes are looked for."""

CHUNK = 100_000
"""Draws that are assigned to modes at once."""

Labels = Int[np.ndarray, "chain draw"]


def _found(draws: FlatDraws, reasons: list[str]) -> tuple[Labels, int]:
    """Modes by clustering, and every draw's."""
    num_chains, num_draws = draws.num_chains, draws.num_draws
    step = max(-(-num_chains * num_draws // MAX_DRAWS), 1)
    used = [
        place for place, reason in enumerate(reasons) if not reason and not draws.is_whole[place]
    ]
    shape = num_chains, num_draws
    if not used:
        return np.zeros(shape, int), 1
    # a chain that never moved is a point, which would be the densest mode of all
    moved = draws.has_moved.any(axis=1)
    chains = moved if moved.any() else ~moved
    clusters = find_modes(np.moveaxis(draws.values[used][:, chains, ::step], 0, -1))
    if clusters.classifier is None:
        return np.zeros(shape, int), 1
    return _assign(draws.values, used, clusters).reshape(shape), clusters.num_modes


def _assign(
    values: Float[np.ndarray, "parameter chain draw"], used: list[int], clusters: Clusters
) -> Int[np.ndarray, " draws"]:
    along = np.zeros((values[0].size, clusters.directions.shape[1]))
    for place, direction in zip(used, clusters.directions, strict=True):
        along += values[place].reshape(-1, 1) * direction
    assert clusters.classifier is not None
    parts = range(0, len(along), CHUNK)
    return np.concatenate([clusters.classifier.predict(along[i : i + CHUNK]) for i in parts])


def _nearest(data: xr.Dataset, centres: Mapping[str, Any]) -> tuple[Labels, int]:
    """The nearest of given centres for every draw, in units of the parameters' sds."""
    unknown = [name for name in centres if name not in data.data_vars]
    if unknown or not centres:
        raise ValueError(
            f"centres are of {', '.join(unknown) or 'nothing'}, and the posterior has "
            f"{', '.join(map(str, data.data_vars))}; name variables of the posterior"
        )
    distance, num_modes = np.zeros(()), None
    for name, centre in centres.items():
        draws = data[name].transpose("chain", "draw", ...).values.astype(np.float64)
        at = np.asarray(centre, dtype=np.float64)
        num_modes = at.shape[0] if num_modes is None and at.ndim else num_modes
        if at.shape != (num_modes, *draws.shape[2:]):
            raise ValueError(
                f"the centres of {name} must have shape (modes, *{draws.shape[2:]}) with as many "
                f"modes as the others, got {at.shape}"
            )
        sd = draws.std(axis=(0, 1))
        scaled = (draws[:, :, None] - at) / np.where(sd > 0, sd, 1.0)
        distance = distance + (scaled**2).reshape(*scaled.shape[:3], -1).sum(axis=-1)
    # a draw that is not finite is far from all
    label = np.where(np.isfinite(distance), distance, np.inf).argmin(axis=-1)
    assert num_modes is not None
    return label, num_modes


class _Indicator(NamedTuple):
    """One mode's share of the draws."""

    share: float
    mcse: float
    ess: float
    p_value: float


def _indicator(is_in: Bool[np.ndarray, "chain draw"]) -> _Indicator:
    values = is_in.astype(np.float64)
    num_chains, num_draws = values.shape
    share, each = float(values.mean()), values.mean(axis=1)
    if share in (0.0, 1.0):
        return _Indicator(share, math.nan, math.nan, math.nan)
    ess = float(array_stats.ess(values, method="mean"))
    mcse = math.sqrt(share * (1 - share) / ess)
    tau = float(autocorrelation_time(values)[0].tau)
    if num_chains == 1:
        return _Indicator(share, mcse, ess, math.nan)
    if math.isnan(tau):
        # no chain ever jumps into it or out of it, and some are in it
        return _Indicator(share, mcse, ess, 0.0)
    squares = np.sum((each - share) ** 2) * num_draws / (share * (1 - share) * max(tau, 1.0))
    return _Indicator(share, mcse, ess, float(stats.chi2.sf(squares, num_chains - 1)))


def _summary(
    draws: FlatDraws, label: Labels, num_modes: int
) -> tuple[Float[np.ndarray, "mode parameter"], Float[np.ndarray, "mode parameter"]]:
    """Means and sds of the parameters in every mode."""
    means, sds = np.full((2, num_modes, len(draws.labels)), np.nan)
    for mode in range(num_modes):
        is_in = label == mode
        if is_in.any():
            for place, values in enumerate(draws.values):
                means[mode, place], sds[mode, place] = values[is_in].mean(), values[is_in].std()
    return means, sds


def modes(
    dt: xr.DataTree | MCMC | FlatDraws, *, centres: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Modes of the posterior, their shares of the draws, and the jumps between them.

    Parameters
    ----------
    dt
        Draws: a tree of any origin, a fitted `numpyro.infer.MCMC`, or what `flatten` made of them.
    centres
        Variable -> its centres `(modes, *event)`, for modes that are known; a draw is in the mode
        whose centre is nearest in those variables, in units of their sds. None to find modes.

    Returns
    -------
    Dataset with dimensions `mode` (the largest first; as given, if `centres` are), `chain` and
    `parameter`:

    * `occupancy`, `mcse`, `ess` (mode): the share of the draws, its Monte Carlo standard error, and
      the effective draws behind it
    * `p_value` (mode): probability of shares that differ so much if chains agree
    * `chain_occupancy` (chain, mode)
    * `jumps` (mode_from, mode_to): steps that go from one mode to another, or stay
    * `jumps_per_1000`: jumps in 1,000 steps of a chain
    * `entropic_coverage`: 1 if all modes have as many draws, 0 if one has all
    * `mean`, `sd` (mode, parameter): of the draws in a mode
    * `mode_of` (chain, draw): the mode of every draw
    * `jump_acceptance`, `longest_refusal` (chain), `proposed` (mode), `heavy`, `lost`: of a kernel
      that jumps, as in `jumps.py`; NaN of others

    and the attributes of every diagnostic (`outcome.py`), `num_modes` and `ess_needed`.

    Raises
    ------
    ValueError
        If there is no posterior, or the centres do not fit it.

    Examples
    --------
    >>> import arviz as az
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> x[3] += 12  # one chain in another mode
    >>> result = modes(az.from_dict({"posterior": {"x": x}}))
    >>> result.occupancy.values.tolist(), result.attrs["findings"][0]
    ([0.75, 0.25], 'The chains are in different modes: the share of mode 0 ranges from 0% ...')
    """
    draws = flatten(dt)
    result = _compute(draws, centres)
    return with_findings(result, findings(result, None), WORDINGS)


def _compute(draws: FlatDraws, centres: Mapping[str, Any] | None) -> xr.Dataset:
    data = draws.data
    reasons = draws.skip_reasons(MIN_DRAWS)
    if centres is None:
        label, num_modes = _found(draws, reasons)
        order = np.argsort(-np.bincount(label.ravel(), minlength=num_modes), kind="stable")
        label = np.argsort(order)[label]
    else:
        label, num_modes = _nearest(data, centres)
    jumps = np.zeros((num_modes, num_modes), int)
    np.add.at(jumps, (label[:, :-1].ravel(), label[:, 1:].ravel()), 1)
    num_jumps = jumps.sum() - np.trace(jumps)
    with quiet():
        found = [_indicator(label == mode) for mode in range(num_modes)]
        # of draws that are not finite, too
        means, sds = _summary(draws, label, num_modes)
    share = np.array([indicator.share for indicator in found])
    each = np.stack([(label == mode).mean(axis=1) for mode in range(num_modes)], axis=1)
    coverage = float(entr(share).sum() / math.log(num_modes)) if num_modes > 1 else math.nan
    mode, inside = ("mode",), ("mode", "parameter")
    jumped = read_jumps(draws.dt, label, num_modes) or no_jumps(draws.num_chains, num_modes)
    table = conclude(
        {
            "occupancy": (mode, share, "share of the draws", ""),
            "mcse": (mode, [i.mcse for i in found], "standard error of the share", ""),
            "ess": (mode, [i.ess for i in found], "effective sample size of the share", "draws"),
            "p_value": (
                mode,
                [i.p_value for i in found],
                "p-value of equal shares in all chains",
                "",
            ),
            "chain_occupancy": (("chain", "mode"), each, "share of a chain's draws", ""),
            "jumps": (("mode_from", "mode_to"), jumps, "steps between modes", "steps"),
            "jumps_per_1000": (
                (),
                1000 * num_jumps / max(jumps.sum(), 1),
                "jumps between modes",
                "per 1,000 draws",
            ),
            "entropic_coverage": ((), coverage, "entropic coverage of the modes", ""),
            "mean": (inside, means, "mean in a mode", "of the parameter"),
            "sd": (inside, sds, "standard deviation in a mode", "of the parameter"),
            "mode_of": (("chain", "draw"), label, "mode of a draw", ""),
            "jump_acceptance": ((), jumped.acceptance, "acceptance probability of a jump", ""),
            "longest_refusal": ("chain", jumped.longest_refusal, "refused in a row", "jumps"),
            "proposed": (mode, jumped.proposed, "share of proposals over share of the mode", ""),
            "heavy": ((), jumped.heavy, "share of jumps that end where few are proposed", ""),
            "pareto_k": ((), jumped.pareto_k, "shape of the weights' tail of the jumps", ""),
            "lost": ((), jumped.lost, "share of jumps from where the flow was not inverted", ""),
        },
        {
            "mode": np.arange(num_modes),
            "chain": data.chain.values,
            "draw": data.draw.values,
            "parameter": draws.labels,
        },
        notes=skip_notes(draws.labels, reasons),
        num_varying=int(np.sum(draws.is_finite & ~draws.is_constant)),
        num_modes=num_modes,
        rearranged=rearranged(means, sds, draws.labels) if num_modes > 1 else [],
        ess_needed=ess_needed(data.sizes["chain"]),
        learning_warnings=str(draws.dt.attrs.get(LEARNING_WARNINGS, "")).splitlines(),
        num_regions_one_sided=int(draws.dt.attrs.get(ONE_SIDED, 0)),
        **{name: int(draws.dt.attrs.get(name, 0)) for name in (FOUND, LOOKED)},
    )
    notes = table.attrs["notes"]
    if num_modes == 1:
        notes.append("A mode that no chain has visited cannot be found.")
    else:
        notes.append(f"Modes with less than {MIN_WEIGHT:.0%} of the draws are not separated.")
    return table


def _record(draws: FlatDraws, given: Given) -> xr.Dataset:
    del given
    return modes(draws)


MODES = Diagnostic(
    name="modes",
    anchor="modes",
    is_of_target=False,
    compute=_record,
    findings=findings,
    wordings=WORDINGS,
    columns=COLUMNS,
    section=section,
)
