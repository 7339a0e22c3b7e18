"""Regions that explorations found, and a mixture of Gaussians over them to anneal from.

Particles are clustered in units of `1 / E[g^2]`, the scale within a mode, by HDBSCAN (Campello,
Moulavi and Sander 2013, doi:10.1007/978-3-642-37456-2_14). Every cluster becomes a Gaussian, and a
wide one covers the rest. Whatever the clusters, tempered SMC from that mixture is consistent; good
clusters make it short and keep the modes.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.kernels.gaussian_mixture import GaussianMixture, gaussian_mixture
from numpyro_score.learned.covariance import gaussian_log_prob, shrunken_gaussian
from numpyro_score.learned.whitening import mean_and_factor

SMALLEST = 5
"""Particles of a region, at least."""

PLANAR_NEIGHBOURS = 15
"""Points that HDBSCAN takes a density from in one or two dimensions. With as few as `SMALLEST`, it
breaks one Gaussian of 2,000 points there into more than a hundred clusters. In more dimensions it
does not, and with more neighbours than a mode has points the mode would be lost."""

MAX_REGIONS = 64
"""The largest clusters; the wide Gaussian covers the others."""

INFLATION = 1.2
"""Factor of the variances: a reference should be wider than the target."""

WIDE_SHARE = 0.05
"""Weight of the wide Gaussian, at least."""

MOST_OUTSIDE = 0.05
"""Share of the particles outside of all regions, above which there are modes besides those listed:
of too few particles for a cluster, as in a product of many double wells."""

SHARE_OF_MANY = 0.9
"""Weight of the wide Gaussian then. The largest of very many modes are no sample of them, and
annealing from those alone has the larger error: of log Z .3 against .1 with eight double wells."""

LEAST_SHARE = 0.01
"""Share of the particles that a region has in training, whatever its weight."""


class Regions(NamedTuple):
    """Regions, and where particles of the explorations lie.

    Attributes
    ----------
    mixture
        One component for every region, and the wide one last.
    num
        Number of regions.
    """

    mixture: GaussianMixture
    num: int


def scale_within_modes(
    x: Float[np.ndarray, "num dim"], gradients: Float[np.ndarray, "num dim"]
) -> Float[np.ndarray, " dim"]:
    """Sds within modes, `1 / sqrt(E[g^2])`, at most those of all points."""
    of_modes = 1 / np.maximum(np.mean(gradients**2, axis=0), 1e-300)
    return np.sqrt(np.minimum(of_modes, x.var(axis=0)))


def find_regions(
    positions: Float[np.ndarray, "num dim"],
    logdensity: Float[np.ndarray, " num"],
    gradients: Float[np.ndarray, "num dim"],
) -> Regions:
    """Cluster particles of all explorations together.

    Parameters
    ----------
    positions, logdensity, gradients
        Of the particles, finite.

    Raises
    ------
    ValueError
        If all particles are equal in some coordinate.
    """
    from sklearn.cluster import HDBSCAN

    x, g = np.asarray(positions, np.float64), np.asarray(gradients, np.float64)
    mean, factor = mean_and_factor(x)
    scale = scale_within_modes(x, g)
    labels = np.full(len(x), -1)
    if len(x) >= PLANAR_NEIGHBOURS:
        size = {"min_cluster_size": SMALLEST}
        if x.shape[1] <= 2:
            size["min_samples"] = PLANAR_NEIGHBOURS
        labels = HDBSCAN(**size, copy=True).fit_predict(x / scale)
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    names = names[np.argsort(-counts)][:MAX_REGIONS]
    parts, log_masses = [], []
    for name in names:
        inside = labels == name
        equal = np.full(inside.sum(), 1 / inside.sum())
        center, root = shrunken_gaussian(x[inside], equal, scale)
        # log p - log N is the log mass wherever the region is about Gaussian
        log_prob = gaussian_log_prob(x[inside], center, root)
        log_masses.append(np.median(logdensity[inside] - log_prob))
        parts.append((center, math.sqrt(INFLATION) * root))
    share = max(WIDE_SHARE, 1 - np.isin(labels, names).mean()) if parts else 1.0
    parts.append((mean, math.sqrt(INFLATION) * factor))
    weights = np.exp(np.array(log_masses) - max(log_masses, default=0.0))
    # masses are rough: every region gets a part of the particles, whatever its mass seems to be
    num = len(names)
    weights = (weights / weights.sum() + 1 / num) / 2 if num else np.zeros(0)
    means, factors = (np.stack(values) for values in zip(*parts, strict=True))

    def mixture(share: float) -> GaussianMixture:
        return gaussian_mixture(np.append(weights * (1 - share), share), means, factors)

    found = mixture(share)
    points = jnp.asarray(x, found.means.dtype)
    if num and np.mean(np.asarray(assign(found, points)) == num) > MOST_OUTSIDE:
        found = mixture(max(share, SHARE_OF_MANY))
    return Regions(found, num)


@eqx.filter_jit
def assign(mixture: GaussianMixture, positions: Float[Array, "num dim"]) -> Int[Array, " num"]:
    """The region of each point: the component with the largest share of the density there."""
    return jax.vmap(lambda x: jnp.argmax(mixture.component_log_probs(x)))(positions)


def shares(
    mixture: GaussianMixture,
    positions: Float[Array, "num dim"],
    weights: Float[np.ndarray, " num"] | None = None,
) -> Float[np.ndarray, " regions"]:
    """Share of points, or of their weights, in every region, the wide component's last."""
    which = np.asarray(assign(mixture, positions))
    found = np.bincount(which, weights, minlength=len(mixture.log_weights))
    return found / found.sum()
