"""Coordinates in which modes have about unit covariance."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.learned.components import Components
from numpyro_score.learned.covariance import shrunken_gaussian
from numpyro_score.learned.regions import SMALLEST, assign, scale_within_modes


class Units(NamedTuple):
    """Coordinates `u` in which modes have about unit covariance, `x = center + factor u`."""

    center: Float[np.ndarray, " dim"]
    factor: Float[np.ndarray, "dim dim"]

    def whiten(self, x: Float[np.ndarray, "num dim"]) -> Float[np.ndarray, "num dim"]:
        """Coordinates `u` of points."""
        return np.linalg.solve(self.factor, (x - self.center).T).T

    def components(self, mixture: GaussianMixture) -> Components:
        """A mixture of `x` as one of `u`."""
        log_weights, means, factors = (
            np.asarray(a, np.float64) for a in (mixture.log_weights, mixture.means, mixture.factors)
        )
        whitened = np.linalg.solve(self.factor, factors)
        return Components(np.exp(log_weights), self.whiten(means), whitened)


def units_of(
    regions: GaussianMixture,
    x: Float[np.ndarray, "num dim"],
    gradients: Float[np.ndarray, "num dim"],
) -> Units:
    """Units of the pooled covariance within modes: that of points about the means of their regions.

    Parameters
    ----------
    regions
        The mixture over the regions, the wide component last.
    x, gradients
        Points, and the gradients of the log density there.
    """
    which = np.asarray(assign(regions, jnp.asarray(x, regions.means.dtype)))
    counts = np.bincount(which, minlength=len(regions.log_weights))
    # what no region covers has no mean of its own, unless there is no region
    is_region = counts >= SMALLEST
    is_region[-1] = not is_region[:-1].any()
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, which, x)
    inside = is_region[which]
    residuals = (x - sums[which] / counts[which, None])[inside]
    equal = np.full(len(residuals), 1 / len(residuals))
    _, factor = shrunken_gaussian(residuals, equal, scale_within_modes(x, gradients))
    return Units(x.mean(axis=0), factor)
