"""The initial transient of one scalar's chains: four estimates side by side.

* MSER-5, pooled over chains (`mser.py`). It always names a number, so it counts only where the
  draws that it drops have another mean than the rest by more than chance.
* Geweke (`geweke.py`): the fewest draws to drop after which no chain's first tenth is off, nor that
  of all chains together.
* Autocorrelation time (`autocorrelation.py`), of the last half: `5 tau`. The bias of a start decays
  about as `exp(-2 t / tau)`, so that this leaves `exp(-10)` of it.
* R-hat, and nested R-hat where there are superchains: the fewest draws to drop after which it is
  within its limit.

Means are compared on normal scores of the ranks, for which the central limit theorem holds at a
hundred draws whatever the tails of the posterior.
"""

import math
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Bool, Float, Int

from numpyro_score.diagnostics.autocorrelation import autocorrelation_time
from numpyro_score.diagnostics.geweke import StationaryError, geweke, stationary_error
from numpyro_score.diagnostics.mser import BATCH, MIN_BATCHES, mser
from numpyro_score.diagnostics.outcome import rank_normalised
from numpyro_score.diagnostics.superchains import rhat_limit

ESTIMATORS = ("mser", "geweke", "autocorrelation_time", "rhat", "rhat_nested")
"""The estimates, as they are named in results."""

NAMES = {
    "mser": "MSER-5",
    "geweke": "Geweke",
    "autocorrelation_time": "autocorrelation time",
    "rhat": "R-hat",
    "rhat_nested": "nested R-hat",
}
"""The estimates in words."""

MIN_DRAWS = BATCH * MIN_BATCHES
"""Draws a chain below which nothing is estimated."""

NUM_CUTS, CUTS_PER_RHAT = 100, 5
"""Cuts in the first half that are tried, and one in how many R-hat is computed at."""

TAUS = 5.0
"""Autocorrelation times that are dropped by the rule for them."""


class Scan(NamedTuple):
    """What is the same for every scalar.

    Attributes
    ----------
    num_warmup
        Draws that are warmup, of those that are looked at.
    cuts
        Numbers of draws to drop that are tried, from 0.
    rhat_cuts
        Those at which R-hat is computed.
    false_alarm
        Probability of a false alarm that one chain of one scalar may have.
    ids
        Superchain of every chain, or None.
    """

    num_warmup: int
    cuts: Int[np.ndarray, " cuts"]
    rhat_cuts: Int[np.ndarray, " dropped"]
    false_alarm: float
    ids: Int[np.ndarray, " chain"] | None


def plan(
    num_draws: int, num_warmup: int, false_alarm: float, ids: Int[np.ndarray, " chain"] | None
) -> Scan:
    """What to try on chains of so many draws, warmup included."""
    cuts = np.unique(np.linspace(0, num_draws // 2, NUM_CUTS + 1).astype(int))
    return Scan(num_warmup, cuts, cuts[::CUTS_PER_RHAT], false_alarm, ids)


class Start(NamedTuple):
    """Initial transient of a scalar's chains; draws are counted from the first one kept.

    Attributes
    ----------
    mser, mser_is_trusted
        MSER-5 of every chain, and whether its minimum lies in the first half.
    geweke
        Fewest draws of every chain to drop until its first tenth is not off; NaN if none will do.
    geweke_z
        z of every chain when the warmup is dropped.
    tau, tau_is_trusted
        Autocorrelation time of the last half, and whether that is longer than 50 of it.
    tau_chain
        The same time of every chain alone.
    rhat, rhat_nested
        R-hat when `rhat_cuts` draws are dropped; NaN where it cannot be computed.
    number
        Draws to drop by every estimate of `ESTIMATORS`; NaN where none suffices or it is unknown.
    """

    mser: Int[np.ndarray, " chain"]
    mser_is_trusted: Bool[np.ndarray, " chain"]
    geweke: Float[np.ndarray, " chain"]
    geweke_z: Float[np.ndarray, " chain"]
    tau: float
    tau_is_trusted: bool
    tau_chain: Float[np.ndarray, " chain"]
    rhat: Float[np.ndarray, " dropped"]
    rhat_nested: Float[np.ndarray, " dropped"]
    number: dict[str, float]


def _first(cuts: Int[np.ndarray, " cuts"], is_fine: Bool[np.ndarray, " cuts"]) -> float:
    return float(cuts[is_fine.argmax()]) if is_fine.any() else math.nan


def _is_off(
    scores: Float[np.ndarray, "chain draw"], num: int, error: StationaryError, false_alarm: float
) -> bool:
    """Whether the first draws of some chain have another mean than its rest."""
    if num == 0:
        return False
    rest = scores.shape[-1] - num
    difference = scores[:, :num].mean(axis=-1) - scores[:, num:].mean(axis=-1)
    scale = math.sqrt(error.of_mean(np.array([num, rest])).sum())
    # the number was chosen among so many
    chances = max(scores.shape[-1] // (2 * BATCH), 1)
    with np.errstate(all="ignore"):
        return bool(np.any(np.abs(difference) / scale > error.limit(false_alarm / chances)))


def _rhats(
    scores: Float[np.ndarray, "chain draw"], folded: Float[np.ndarray, "chain draw"], scan: Scan
) -> tuple[Float[np.ndarray, " dropped"], Float[np.ndarray, " dropped"]]:
    def nested(values: Float[np.ndarray, "chain draw"]) -> float:
        if scan.ids is None:
            return math.nan
        return float(array_stats.rhat_nested(values, scan.ids, method="split"))

    rhat, rhat_nested = [], []
    for cut in scan.rhat_cuts:
        kept = scores[:, cut:], folded[:, cut:]
        rhat.append(max(float(array_stats.rhat(values, method="split")) for values in kept))
        rhat_nested.append(max(nested(values) for values in kept))
    return np.array(rhat), np.array(rhat_nested)


def estimate(values: Float[np.ndarray, "chain draw"], scan: Scan) -> Start:
    """Estimate the initial transient of a scalar's chains.

    Parameters
    ----------
    values
        Finite draws that vary, at least `MIN_DRAWS` a chain, warmup first.
    scan
        As `plan` returns it.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> x += 20 * np.exp(-np.arange(1000) / 20)
    >>> number = estimate(x, plan(1000, 0, 0.001, None)).number
    >>> [50 < number[name] < 150 for name in ("mser", "geweke")], number["autocorrelation_time"]
    ([True, True], 5)
    """
    num_chains, num_draws = values.shape
    scores = rank_normalised(values)
    # around the centre of the last half, which a start that is far off does not shift
    folded = rank_normalised(np.abs(scores - np.median(scores[:, num_draws // 2 :])))
    error = stationary_error(scores)

    together, each = mser(values)
    is_off = _is_off(scores, int(together.num_draws), error, scan.false_alarm / 2)

    z = geweke(scores, scan.cuts, error)
    # NaN is not fine
    limit = error.limit(scan.false_alarm / 2)
    is_fine = np.abs(z) <= limit
    # chains that share a start show it together before any of them does
    all_fine = is_fine.all(axis=0) & (np.abs(z.sum(axis=0)) <= limit * math.sqrt(num_chains))
    at_warmup = geweke(scores, np.array([min(scan.num_warmup, num_draws - 1)]), error)

    time, time_each = autocorrelation_time(values[:, num_draws // 2 :])
    rhat, rhat_nested = _rhats(scores, folded, scan)
    # of a chain
    effective = (num_draws - scan.rhat_cuts) / np.maximum(error.tau, 1.0)
    mser_number = float(together.num_draws) if together.is_trusted else math.nan
    number = {
        "mser": mser_number if is_off else 0.0,
        "geweke": _first(scan.cuts, all_fine),
        "autocorrelation_time": math.ceil(TAUS * time.tau) if time.is_trusted else math.nan,
        "rhat": _first(scan.rhat_cuts, rhat <= rhat_limit(2 * num_chains, effective / 2)),
        "rhat_nested": math.nan,
    }
    if scan.ids is not None:
        num_superchains = int(scan.ids.max()) + 1
        limit = rhat_limit(num_superchains, effective * num_chains / num_superchains)
        number["rhat_nested"] = _first(scan.rhat_cuts, rhat_nested <= limit)
    return Start(
        mser=each.num_draws,
        mser_is_trusted=each.is_trusted,
        geweke=np.array([_first(scan.cuts, chain) for chain in is_fine]),
        geweke_z=at_warmup[:, 0],
        tau=float(time.tau),
        tau_is_trusted=bool(time.is_trusted),
        tau_chain=time_each.tau,
        rhat=rhat,
        rhat_nested=rhat_nested,
        number=number,
    )


def unknown_start(num_chains: int, scan: Scan) -> Start:
    """What stands for a scalar without estimates."""
    unknown = np.full(num_chains, np.nan)
    curve = np.full(scan.rhat_cuts.size, np.nan)
    return Start(
        mser=np.zeros(num_chains, int),
        mser_is_trusted=np.zeros(num_chains, bool),
        geweke=unknown,
        geweke_z=unknown,
        tau=math.nan,
        tau_is_trusted=False,
        tau_chain=unknown,
        rhat=curve,
        rhat_nested=curve,
        number=dict.fromkeys(ESTIMATORS, math.nan),
    )
