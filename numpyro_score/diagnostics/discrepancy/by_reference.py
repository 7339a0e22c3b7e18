"""Measures of draws against independent draws of what they should be draws of.

The maximum mean discrepancy is of all draws and all of the reference, and its bootstrap allows for
autocorrelation. The others are of independent draws: the chains are thinned to every
`2 tau - 1`th draw, and compared with as many of one half of the reference. What exact draws have is
known from the reference cut at random into two such halves; the p-value of a sliced distance is
that of a Pearson type III distribution of their mean, variance and skewness.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from numpyro_score.diagnostics.discrepancy.bootstrap import cut, join
from numpyro_score.diagnostics.discrepancy.classifier import c2st
from numpyro_score.diagnostics.discrepancy.mmd import mmd
from numpyro_score.diagnostics.discrepancy.positions import Points
from numpyro_score.diagnostics.discrepancy.reference import spacing
from numpyro_score.diagnostics.discrepancy.rows import BY_REFERENCE, Row
from numpyro_score.diagnostics.discrepancy.sinkhorn import sinkhorn_w2
from numpyro_score.diagnostics.discrepancy.sliced import (
    between_halves,
    kolmogorov_smirnov_along,
    lines,
    wasserstein_along,
)

MIN_DRAWS = 20
"""Draws, or independent ones, below which nothing is compared."""

MAX_SLICED, MAX_SINKHORN = 2_000, 384
"""Independent draws that the sliced distances and the classifier, and transport, are of."""

NUM_SPLITS, NUM_SINKHORN_SPLITS = 200, 4
"""Ways to cut the reference in two that a floor is the mean of."""

Sample = Float[np.ndarray, "draws dim"]

Along = Float[np.ndarray, "draws lines"]

Distance = Callable[[Any, Any], float]
"""Of two samples."""


def evenly(points: Sample, num: int) -> Float[np.ndarray, "chosen dim"]:
    """So many of the draws, evenly chosen; all if there are not more."""
    if len(points) <= num:
        return points
    return points[np.arange(num) * len(points) // num]


def by_reference(
    points: Points,
    reference: Sample,
    tau: float,
    rng: np.random.Generator,
    classifier: Any = None,
) -> dict[str, Row]:
    """Rows of all measures against reference draws.

    Parameters
    ----------
    points
        Finite draws.
    reference
        Independent draws of what they should be draws of, in no order.
    tau
        Longest autocorrelation time of the draws.
    rng
        Of the bootstrap, the lines and the halves.
    classifier
        As for `c2st`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 100, 2))
    >>> y = np.random.default_rng(1).normal(size=(1000, 2))
    >>> rows = by_reference(x, y, 1.0, np.random.default_rng(2))
    >>> min(row.p_value for row in rows.values() if row.p_value == row.p_value) > 0.001
    True
    """
    sd = reference.std(axis=0)
    unit = np.where(sd > 0, sd, 1.0)
    centre = reference.mean(axis=0)
    points, reference = (points - centre) / unit, (reference - centre) / unit
    rows = {
        "mmd": _mmd(points, reference, tau, rng, of_moments=False),
        "mmd_moments": _mmd(points, reference, tau, rng, of_moments=True),
    }
    independent = points[:, :: spacing(tau)].reshape(-1, points.shape[-1])
    num = min(len(independent), len(reference) // 2, MAX_SLICED)
    if num < MIN_DRAWS:
        why = (
            f"there are {len(independent)} independent draws and {len(reference)} of the "
            f"reference, where {MIN_DRAWS} and {2 * MIN_DRAWS} are needed"
        )
        return rows | {name: Row(reason=why) for name in BY_REFERENCE if name not in rows}
    x = evenly(independent, num)
    pool = reference[: 2 * num]
    directions = lines(x.shape[1], rng)
    along, pool_along = x @ directions, pool @ directions
    wasserstein, ks = between_halves(pool_along, NUM_SPLITS, rng)
    half = pool_along[:num]
    return rows | {
        "sliced_wasserstein": _sliced(wasserstein_along, along, half, wasserstein),
        "sliced_ks": _sliced(kolmogorov_smirnov_along, along, half, ks),
        "sinkhorn_w2": _sinkhorn(x, pool, rng),
        "c2st": _c2st(x, pool[:num], rng, classifier),
    }


def _mmd(
    points: Points, reference: Sample, tau: float, rng: np.random.Generator, *, of_moments: bool
) -> Row:
    num_chains, num_draws, dim = points.shape
    # independent draws are a chain of autocorrelation time 1
    blocks = join(cut(num_chains, num_draws, tau), cut(1, len(reference), 1.0))
    found = mmd(points.reshape(-1, dim), reference, blocks, rng, of_moments=of_moments)
    return Row(
        value=math.sqrt(max(found.v, 0.0)),
        floor=math.sqrt(max(found.expected, 0.0)),
        v=found.v,
        u=found.u,
        p_value=found.p_value,
        num_draws=num_chains * num_draws,
    )


def _sliced(
    distance: Distance, x: Along, half: Along, between: Float[np.ndarray, " splits"]
) -> Row:
    """A distance along lines, with those between halves of the reference."""
    value, mean, sd = distance(x, half), float(between.mean()), float(between.std(ddof=1))
    # a skewness below 0 would bound the distribution
    fitted = stats.pearson3(max(float(stats.skew(between)), 0.0), mean, sd)
    return Row(value, mean, sd, p_value=float(fitted.sf(value)), num_draws=len(x))


def _sinkhorn(x: Sample, pool: Float[np.ndarray, "pool dim"], rng: np.random.Generator) -> Row:
    num = min(len(x), MAX_SINKHORN)
    halves = (np.split(rng.permutation(pool)[: 2 * num], 2) for _ in range(NUM_SINKHORN_SPLITS))
    between = np.array([sinkhorn_w2(*half) for half in halves])
    value = sinkhorn_w2(evenly(x, num), pool[:num])
    return Row(value, float(between.mean()), float(between.std(ddof=1)), num_draws=num)


def _c2st(x: Sample, half: Sample, rng: np.random.Generator, classifier: Any) -> Row:
    # of one half: chance that makes the halves alike makes the draws of both known
    num_draws = len(x)
    value = c2st(x, half, classifier=classifier, seed=int(rng.integers(2**31)))
    # guesses of independent draws are right or wrong independently
    p = stats.binom.sf(round(value * num_draws) - 1, num_draws, 0.5)
    return Row(value, 0.5, 0.5 / math.sqrt(num_draws), p_value=float(p), num_draws=len(x))
