"""A Gaussian of weighted points, with a covariance that few points determine well."""

import math

import numpy as np
from jaxtyping import Float

RIDGE = 1e-6
"""Added to the variances, in the units given: keeps nearly dependent coordinates apart."""


def shrunken_covariance(
    x: Float[np.ndarray, "num dim"], weights: Float[np.ndarray, " num"]
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "dim dim"]]:
    """Mean and Ledoit-Wolf covariance (2004, doi:10.1016/S0047-259X(03)00096-4) of weighted points.

    scikit-learn's `LedoitWolf`, which this equals for equal weights, takes none. The number of
    points is their effective number, `1 / sum(weights^2)`.

    Parameters
    ----------
    x
        Points.
    weights
        Of sum 1.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> mean, covariance = shrunken_covariance(x, np.full(1000, 1e-3))
    >>> bool(abs(covariance - np.eye(2)).max() < 0.1)
    True
    """
    num, dim = 1 / np.sum(weights**2), x.shape[1]
    mean = weights @ x
    centered = x - mean
    covariance = (weights[:, None] * centered).T @ centered
    size = np.trace(covariance) / dim
    spread = np.sum((covariance - size * np.eye(dim)) ** 2)
    fourth = weights @ np.sum(centered**2, axis=1) ** 2
    noise = max(fourth - np.sum(covariance**2), 0.0) / num
    share = min(noise / spread, 1.0) if spread > 0 else 0.0
    return mean, (1 - share) * covariance + share * size * np.eye(dim)


def shrunken_gaussian(
    x: Float[np.ndarray, "num dim"],
    weights: Float[np.ndarray, " num"],
    scale: Float[np.ndarray, " dim"],
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "dim dim"]]:
    """Mean and Cholesky factor of the covariance of weighted points, shrunken in units of `scale`.

    Parameters
    ----------
    x, weights
        As of `shrunken_covariance`.
    scale
        Rough sds.
    """
    mean, covariance = shrunken_covariance(x / scale, weights)
    factor = np.linalg.cholesky(covariance + RIDGE * np.eye(len(scale)))
    return mean * scale, scale[:, None] * factor


def gaussian_log_prob(
    x: Float[np.ndarray, "num dim"],
    mean: Float[np.ndarray, " dim"],
    factor: Float[np.ndarray, "dim dim"],
) -> Float[np.ndarray, " num"]:
    """Log density of a Gaussian, on the host in double precision.

    Parameters
    ----------
    x
        Points.
    mean, factor
        Of the Gaussian; the factor is lower triangular.
    """
    # with thousands of points faster than to solve
    z = np.linalg.inv(factor) @ (x - mean).T
    log_det = np.log(np.diagonal(factor)).sum()
    return -0.5 * (z**2).sum(axis=0) - log_det - x.shape[1] / 2 * math.log(2 * math.pi)
