"""Mixtures of Gaussians in one dimension for every coordinate of weighted points, on the host.

Expectation-maximisation (Dempster, Laird and Rubin 1977) takes sorted points in groups, each by its
weight, mean and variance, so that a step costs the same for any number of points. Groups are finer
in the tails, of which a mixture of the wrong width has too few or too many.
"""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

NUM_COMPONENTS = 8
"""Components of a coordinate: a few for each of its modes, which are seldom Gaussian."""

WIDE_WEIGHT = 0.002
"""Least weight of the last component, as wide as the coordinate: what lies between modes or beyond
them, and met no point so far, is still proposed, so that the weights of draws are bounded."""

NUM_GROUPS = 256
"""Groups of the points of a coordinate."""

LOG_ODDS = 10.0
"""Half of their edges are even in the log odds of the share of points below, from minus this."""

BULK = 0.001, 0.999
"""The other half are even between these quantiles."""

MAX_STEPS = 200
"""Steps of expectation-maximisation at most."""

LEAST_RISE = 1e-5
"""Mean rise of a coordinate's log density below which steps end."""

LEAST_POINTS = 5.0
"""Points that a component is held to its width and weight by, before any of its own."""

NARROWEST = 1e-3
"""Smallest sd of a component, in sds of the coordinate."""


class Marginals(NamedTuple):
    """A mixture for every coordinate.

    Attributes
    ----------
    weights, means, sds
        `(component, dim)`; the weights of each coordinate sum to 1.
    """

    weights: Float[np.ndarray, "component dim"]
    means: Float[np.ndarray, "component dim"]
    sds: Float[np.ndarray, "component dim"]


class _Groups(NamedTuple):
    """Groups of the sorted points of every coordinate, `(group, dim)`; the shares sum to 1."""

    shares: Float[np.ndarray, "group dim"]
    means: Float[np.ndarray, "group dim"]
    variances: Float[np.ndarray, "group dim"]

    @classmethod
    def of(cls, x: Float[np.ndarray, "num dim"], weights: Float[np.ndarray, " num"]) -> Self:
        odds = np.linspace(-LOG_ODDS, LOG_ODDS, NUM_GROUPS // 2)
        levels, columns = 1 / (1 + np.exp(-odds)), []
        for values in x.T:
            order = np.argsort(values)
            values, own = values[order], weights[order] / weights.sum()
            edges = np.interp(levels, np.cumsum(own) - own / 2, values)
            # a group across a gap would put points where there are none
            low, high = np.interp(BULK, levels, edges).tolist()
            even = np.linspace(low, high, NUM_GROUPS - len(edges) - 1)
            which = np.searchsorted(np.sort(np.concatenate([edges, even])), values)
            share = np.bincount(which, own, NUM_GROUPS)
            mean = np.bincount(which, own * values, NUM_GROUPS) / np.maximum(share, 1e-300)
            spread = np.bincount(which, own * (values - mean[which]) ** 2, NUM_GROUPS)
            columns.append((share, mean, spread / np.maximum(share, 1e-300)))
        return cls(*(np.stack(column, axis=1) for column in zip(*columns, strict=True)))


def _moments(
    shares: Float[np.ndarray, "component group dim"], groups: _Groups
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight, mean and variance of shares of groups, `(component, dim)` each."""
    masses = shares.sum(axis=1)
    safe = np.maximum(masses, 1e-300)
    means = (shares * groups.means).sum(axis=1) / safe
    square = (groups.means - means[:, None]) ** 2 + groups.variances
    return masses, means, (shares * square).sum(axis=1) / safe


def _first(groups: _Groups) -> Marginals:
    """Components of equal weight, one beside the other, and a wide one for what is between them."""
    num = NUM_COMPONENTS - 1
    below = np.cumsum(groups.shares, axis=0) - groups.shares / 2
    is_in = np.minimum((below * num).astype(int), num - 1) == np.arange(num)[:, None, None]
    _, means, variances = _moments(groups.shares * is_in, groups)
    _, mean, whole = _moments(groups.shares[None], groups)
    sds = np.sqrt(np.concatenate([np.maximum(variances, whole / num**2 / 4), whole]))
    weights = np.full(num, (1 - WIDE_WEIGHT) / num)
    weights = np.append(weights, WIDE_WEIGHT)[:, None] * np.ones(len(mean.T))
    return Marginals(weights, np.concatenate([means, mean]), sds)


def fit_marginals(
    x: Float[np.ndarray, "num dim"],
    weights: Float[np.ndarray, " num"],
    begin: Marginals | None = None,
) -> Marginals:
    """Mixtures for the coordinates of weighted points.

    Parameters
    ----------
    x, weights
        Points, and their weights of sum 1.
    begin
        Mixtures to begin with; by default components of equal weight.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4000, 1)) + [[-5.0], [5.0]] * 2000
    >>> found = fit_marginals(x, np.full(4000, 1 / 4000))
    >>> round(float(found.weights[found.means < 0].sum()), 2)
    0.5
    """
    groups = _Groups.of(x, weights)
    # in units of the effective number of points
    least = LEAST_POINTS * float(np.sum(weights**2))
    found = _first(groups) if begin is None else begin
    _, mean, whole = _moments(groups.shares[None], groups)
    last = -np.inf
    for _ in range(MAX_STEPS):
        square = (groups.means - found.means[:, None]) ** 2 + groups.variances
        terms = -0.5 * square / found.sds[:, None] ** 2 - np.log(found.sds / found.weights)[:, None]
        top = terms.max(axis=0)
        members = np.exp(terms - top)
        sums = members.sum(axis=0)
        score = float((groups.shares * (top + np.log(sums))).sum(axis=0).mean())
        if score < last + LEAST_RISE:
            break
        last = score
        masses, means, variances = _moments(groups.shares * members / sums, groups)
        variances = (masses * variances + least * found.sds**2) / (masses + least)
        sds = np.sqrt(np.maximum(variances, NARROWEST**2 * whole))
        masses = masses + least
        # the last stays as wide as the coordinate
        means[-1:], sds[-1:] = mean, np.sqrt(whole)
        masses[-1] = np.maximum(masses[-1], WIDE_WEIGHT * masses.sum(axis=0))
        found = Marginals(masses / masses.sum(axis=0), means, sds)
    return found
