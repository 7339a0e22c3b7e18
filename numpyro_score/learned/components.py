"""A mixture of Gaussians on the host, with the two parts of a step of expectation-maximisation."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture, gaussian_mixture
from numpyro_score.learned.covariance import gaussian_log_prob, shrunken_gaussian

SPREAD = 0.02
"""Weight that is divided equally among all components, so that none is lost."""

WIDER = 3.0
"""The wider copy of a component has `1 + WIDER / sqrt(dim)` times its covariance."""

TAIL = 0.1
"""Share of that copy in the weight of both, before it is adapted."""

HALF_DISTANCE = 0.5
"""Distance of the halves of a component from its mean, in sds along its longest axis."""

NEGLIGIBLE = 1e-9
"""Responsibility of a component below which a point is left out of it, to save time."""


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
        """Log density at each point, and the responsibility of every component for it (E step).

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
    """Every component and a wider copy of it, for modes of heavier tails than a Gaussian's."""
    wider = math.sqrt(1 + WIDER / math.sqrt(found.means.shape[1])) * found.factors
    return Components(
        np.concatenate([(1 - TAIL) * found.weights, TAIL * found.weights]),
        np.concatenate([found.means, found.means]),
        np.concatenate([found.factors, wider]),
    )


def split(found: Components) -> Components:
    """Every component split in two along its longest axis; the pair has its moments."""
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
    """Weights, means and covariances from weighted points (M step).

    A component of few effective points keeps its mean and covariance.

    Parameters
    ----------
    found
        The mixture that the points were drawn from, or assigned by.
    x, weights
        Points, in units in which covariances within modes are near the identity, towards which they
        are shrunken; and their weights, of sum 1.
    members
        Responsibilities of the components for each point.
    fewest
        Effective points from which a component's mean and covariance are changed.
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
