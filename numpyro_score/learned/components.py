"""Gaussians that weighted points are shared out among: one step of a mixture's adaptation."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture, gaussian_mixture
from numpyro_score.learned.covariance import shrunken_gaussian

SPREAD = 0.02
"""Share of the mixture that is spread over all components, so that none is lost."""

WIDER = 3.0
"""Excess variance of the wider copy of a component in one dimension; less in more dimensions."""

TAIL = 0.1
"""Weight of that copy, of both, before it is adapted."""


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


def with_tails(found: Components) -> Components:
    """Every component twice, once wider: what its mode has in excess of a Gaussian."""
    wider = math.sqrt(1 + WIDER / math.sqrt(found.means.shape[1])) * found.factors
    return Components(
        np.concatenate([(1 - TAIL) * found.weights, TAIL * found.weights]),
        np.concatenate([found.means, found.means]),
        np.concatenate([found.factors, wider]),
    )


@eqx.filter_jit
def memberships(
    mixture: GaussianMixture, x: Float[Array, "num dim"]
) -> Float[Array, "num component"]:
    """Share of every component in the density at each point."""
    return jax.vmap(lambda x: jax.nn.softmax(mixture.component_log_probs(x)))(x)


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
    for k, mass in enumerate(masses):
        own = weights * members[:, k] / max(mass, 1e-300)
        if mass > 0 and 1 / np.sum(own**2) >= fewest:
            means[k], factors[k] = shrunken_gaussian(x, own, ones)
    masses = (1 - SPREAD) * masses / masses.sum() + SPREAD / len(masses)
    return Components(masses, means, factors)
