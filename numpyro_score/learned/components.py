"""A mixture of Gaussians that weighted points are shared out among, on the host."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture, gaussian_mixture
from numpyro_score.learned.covariance import gaussian_log_prob, shrunken_gaussian

SPREAD = 0.02
"""Share of the mixture that is spread over all components, so that none is lost."""

WIDER = 3.0
"""Excess variance of the wider copy of a component in one dimension; less in more dimensions."""

TAIL = 0.1
"""Weight of that copy, of both, before it is adapted."""

HALF_DISTANCE = 0.5
"""Distance of the halves of a component from its mean, in sds along its longest axis."""

NEGLIGIBLE = 1e-9
"""Share of a component in a point below which the point is left out of it, to save time."""


class Components(NamedTuple):
    """A mixture of Gaussians on the host, in double precision.

    Attributes
    ----------
    weights, means, factors
        `(num,)`, of sum 1, `(num, dim)` and lower triangular `(num, dim, dim)`.

    Examples
    --------
    >>> one = Components(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    >>> with_tails(one).weights.tolist()
    [0.9, 0.1]
    """

    weights: Float[np.ndarray, " component"]
    means: Float[np.ndarray, "component dim"]
    factors: Float[np.ndarray, "component dim dim"]

    @property
    def mixture(self) -> GaussianMixture:
        """The mixture for compiled programs, of the present precision."""
        return gaussian_mixture(*self)

    def share_out(
        self, x: Float[np.ndarray, "num dim"]
    ) -> tuple[Float[np.ndarray, " num"], Float[np.ndarray, "num component"]]:
        """Log density of each point, and the share of every component in it.

        Parameters
        ----------
        x
            Points.
        """
        shapes = zip(self.means, self.factors, strict=True)
        terms = np.stack([gaussian_log_prob(x, *shape) for shape in shapes], axis=1)
        terms += np.log(self.weights)
        top = terms.max(axis=1)
        members = np.exp(terms - top[:, None])
        sums = members.sum(axis=1)
        return top + np.log(sums), members / sums[:, None]


def with_tails(found: Components) -> Components:
    """Every component twice, once wider: what its mode has in excess of a Gaussian."""
    wider = math.sqrt(1 + WIDER / math.sqrt(found.means.shape[1])) * found.factors
    return Components(
        np.concatenate([(1 - TAIL) * found.weights, TAIL * found.weights]),
        np.concatenate([found.means, found.means]),
        np.concatenate([found.factors, wider]),
    )


def split(found: Components) -> Components:
    """Every component in two halves along its longest axis, of the same moments together."""
    covariances = found.factors @ found.factors.transpose(0, 2, 1)
    variances, axes = np.linalg.eigh(covariances)
    away = HALF_DISTANCE * np.sqrt(variances[:, -1:]) * axes[:, :, -1]
    halves = np.linalg.cholesky(covariances - away[:, :, None] * away[:, None, :])
    return Components(
        np.concatenate([found.weights, found.weights]) / 2,
        np.concatenate([found.means - away, found.means + away]),
        np.concatenate([halves, halves]),
    )


def refit(
    found: Components,
    x: Float[np.ndarray, "num dim"],
    weights: Float[np.ndarray, " num"],
    members: Float[np.ndarray, "num component"],
    fewest: int,
) -> Components:
    """The mixture that weighted points call for; a component of few points keeps its shape.

    Parameters
    ----------
    found
        What the points were drawn from, or assigned by.
    x, weights
        Points, in units in which covariances within modes are near the identity, to which they are
        shrunken; and their weights, of sum 1.
    members
        Shares of the components in each point.
    fewest
        Effective points that change a component.
    """
    means, factors = found.means.copy(), found.factors.copy()
    masses, ones = weights @ members, np.ones(x.shape[1])
    for k in range(len(masses)):
        inside = members[:, k] > NEGLIGIBLE
        own = weights[inside] * members[inside, k]
        # no points at all have an effective number of 0
        if own.sum() ** 2 >= fewest * np.sum(own**2) > 0:
            means[k], factors[k] = shrunken_gaussian(x[inside], own / own.sum(), ones)
    masses = (1 - SPREAD) * masses / masses.sum() + SPREAD / len(masses)
    return Components(masses, means, factors)
