"""How the jumps of a kernel went that proposes draws of one fixed distribution.

Such a kernel reports, at each jump, the log density `q` of its proposal where the jump left the
chain. With the log density `p` of the target there and the log evidence, both normalised,

    E[q / p | region] = Q(region) / P(region)

over the chain's draws in a region: the share of the proposals there, over the share that there
should be. It is far below 1 where chains stay and the proposal hardly goes. Where no region stands
out, single points do: chains are held at those where p is many times q (the weights of Hesterberg
1995, doi:10.1080/00401706.1995.10484303).

Draws of the chain are draws of `p`. If the weights `p / q` have Pareto shape `k` under `q`, they
have shape `k / (1 - k)` under `p`, so that `k` is known without a draw of `q`, and also where the
proposal hardly goes and local steps do.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from numpyro_score.learned.importance import tail_shape

LONG_REFUSAL = 50
"""Jumps rejected in a row from which a chain is warned of."""

SELDOM = 0.1
"""Share of the proposals over share of the target below which a region is warned of."""

HEAVY = 100.0
"""Target over proposal from which a point is seldom proposed."""

MAX_HEAVY = 0.02
"""Share of the jumps that may start from such points."""

MIN_JUMPS = 20
"""Jumps in a region from which on anything is said of it."""


MIN_TAIL = 200
"""Jumps from which on the tail of the weights is fitted."""

NEARLY_ALL = 0.8
"""Acceptance of the jumps from which the tail of the weights is not looked at: where all weights
are about equal, its shape is noise."""


class Jumps(NamedTuple):
    """How the jumps of a run went.

    Attributes
    ----------
    acceptance
        Mean acceptance probability.
    longest_refusal
        Most jumps that each chain rejected in a row.
    proposed
        For each mode, the share of the proposals there, over the share of the target; NaN where it
        is not known.
    heavy
        Share of the jumps that ended where the target's density is more than `HEAVY` times that of
        the proposal; NaN where that is not known.
    pareto_k
        Shape of the tail of the weights `p / q` under the proposal; NaN where that is not known.
    lost
        Share of the jumps that started where the proposal's density could not be computed in full.
    """

    acceptance: float
    longest_refusal: Float[np.ndarray, " chain"]
    proposed: Float[np.ndarray, " mode"]
    heavy: float
    pareto_k: float
    lost: float


def no_jumps(num_chains: int, num_modes: int) -> Jumps:
    """Of a run without jumps: nothing is known.

    Parameters
    ----------
    num_chains, num_modes
        How many there are.
    """
    nan = np.nan
    return Jumps(nan, np.full(num_chains, nan), np.full(num_modes, nan), nan, nan, nan)


def read_jumps(
    dt: xr.DataTree, mode_of: Int[np.ndarray, "chain draw"], num_modes: int
) -> Jumps | None:
    """How the jumps went, from the sample statistics of a run; None where it made none.

    Parameters
    ----------
    dt
        Draws with their statistics, and the root's attributes.
    mode_of
        The mode of every draw.
    num_modes
        How many there are.
    """
    if "sample_stats" not in dt.children:
        return None
    stats = dt["sample_stats"].data_vars
    if not {"is_global", "global_accept_prob", "longest_rejection"} <= set(stats):
        return None

    def values(name: str) -> np.ndarray:
        return stats[name].transpose("chain", "draw").values

    jumped = values("is_global").astype(bool)
    if jumped.shape != mode_of.shape or not jumped.any():
        return None
    proposed, heavy = np.full(num_modes, np.nan), np.nan
    if {"lp", "log_q"} <= set(stats) and "log_evidence" in dt.attrs:
        log_weights = values("lp")[jumped] - values("log_q")[jumped] - dt.attrs["log_evidence"]
        known = np.isfinite(log_weights)
        ratio = np.exp(-np.clip(log_weights[known], -700, 700))
        modes = mode_of[jumped][known]
        counts = np.bincount(modes, minlength=num_modes)
        sums = np.bincount(modes, ratio, minlength=num_modes)
        with np.errstate(all="ignore"):
            proposed = np.where(counts >= MIN_JUMPS, sums / counts, np.nan)
        if known.sum() >= MIN_JUMPS:
            heavy = float(np.mean(log_weights[known] > np.log(HEAVY)))
    return Jumps(
        float(values("global_accept_prob")[jumped].mean()),
        values("longest_rejection").max(axis=1).astype(float),
        proposed,
        heavy,
        jump_tail(dt["sample_stats"].to_dataset()),
        float(values("is_lost")[jumped].mean()) if "is_lost" in stats else np.nan,
    )


def jump_tail(statistics: xr.Dataset) -> float:
    """Pareto k of the weights of a run's jumps under the proposal; NaN where it is not known.

    Parameters
    ----------
    statistics
        Sample statistics of the run.
    """
    if not {"is_global", "global_accept_prob", "lp", "log_q"} <= set(statistics.data_vars):
        return np.nan
    jumped = statistics["is_global"].values.astype(bool)
    log_weights = (statistics["lp"] - statistics["log_q"]).values[jumped]
    log_weights = log_weights[np.isfinite(log_weights)]
    acceptance = statistics["global_accept_prob"].values[jumped].mean() if jumped.any() else 1.0
    if len(log_weights) < MIN_TAIL or acceptance >= NEARLY_ALL:
        return np.nan
    of_target = tail_shape(log_weights)
    # bounded weights have k <= 0 under both, where the sign is all that counts
    return of_target / (1 + of_target) if of_target > 0 else of_target
