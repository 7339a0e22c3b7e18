"""Gaussian targets with known moments: standard, ill-conditioned, and rotated.

`x = Q (s * z)`, `z ~ N(0, I)`: covariance `Q diag(s^2) Q^T`, so `E[x_i^2] = sum_j Q_ij^2 s_j^2` and
`E[x_i^4] = 3 E[x_i^2]^2`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.targets.base import DensityTarget
from numpyro_score.targets.expectation import moments
from numpyro_score.types import RngKey

ROTATION_SEED = 0


def _logdensity(
    x: Float[Array, " dim"],
    sd: Float[np.ndarray, " dim"],
    rotation: Float[np.ndarray, "dim dim"] | None,
) -> Float[Array, ""]:
    if rotation is not None:
        x = jnp.asarray(rotation.T, x.dtype) @ x
    return -0.5 * jnp.sum((x / jnp.asarray(sd, x.dtype)) ** 2)


def _draw(
    rng_key: RngKey, sd: Float[np.ndarray, " dim"], rotation: Float[np.ndarray, "dim dim"] | None
) -> Float[Array, " dim"]:
    x = jax.random.normal(rng_key, sd.shape) * jnp.asarray(sd)
    return x if rotation is None else jnp.asarray(rotation) @ x


def _random_rotation(dim: int, seed: int) -> Float[np.ndarray, "dim dim"]:
    """A uniformly random rotation, by QR of a Gaussian matrix with R's diagonal made positive."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)  # the determinant is +-1: reflections become rotations
    return q


def _gaussian(
    name: str,
    description: str,
    sd: Float[np.ndarray, " dim"],
    rotation: Float[np.ndarray, "dim dim"] | None = None,
) -> DensityTarget:
    variance = sd**2 if rotation is None else rotation**2 @ sd**2
    return DensityTarget(
        name=name,
        description=description,
        dim=sd.size,
        logdensity_fn=partial(_logdensity, sd=sd, rotation=rotation),
        expectations=moments("x", np.zeros(sd.size), variance, 3 * variance**2),
        draw_fn=partial(_draw, sd=sd, rotation=rotation),
    )


def std_gaussian(dim: int = 10) -> DensityTarget:
    """The standard Gaussian `N(0, I)`.

    Parameters
    ----------
    dim
        dimension, at least 1.

    Raises
    ------
    ValueError
        `dim` is less than 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(std_gaussian(dim=2).logdensity_fn(jnp.ones(2)))
    -1.0
    """
    return _gaussian("std_gaussian", f"N(0, I) in {dim} dimensions, variance 1", np.ones(dim))


def ill_gaussian(dim: int = 50, condition: float = 1e4, rotated: bool = False) -> DensityTarget:
    """A Gaussian whose covariance has the given condition number.

    The variances (eigenvalues of the covariance) are log-spaced from `condition^(-1/2)` to
    `condition^(1/2)`: by default variances .01 to 100, sds .1 to 10. `rotated` applies one random
    rotation, always the same for a given `dim`, so that no diagonal preconditioner can help.

    Parameters
    ----------
    dim
        dimension, at least 2.
    condition
        largest over smallest eigenvalue of the covariance, at least 1.
    rotated
        whether the principal axes are rotated out of the coordinate axes; the target is then
        named "ill_gaussian_rotated".

    Raises
    ------
    ValueError
        `dim` is less than 2 or `condition` less than 1.

    Examples
    --------
    >>> target = ill_gaussian(dim=3, condition=100.0)
    >>> [round(float(v), 6) for v in target.expectations[1].truth]
    [0.1, 1.0, 10.0]
    """
    check_whole("dim", dim, 2, hint="a condition number needs two variances")
    if not condition >= 1:
        raise ValueError(
            f"condition must be at least 1 (largest over smallest variance), got {condition}"
        )
    variance = np.geomspace(condition**-0.5, condition**0.5, dim)
    description = (
        f"N(0, C) in {dim} dimensions; the eigenvalues of the covariance C (variances) are "
        f"log-spaced from {variance[0]:g} to {variance[-1]:g}: condition number {condition:g}"
    )
    if not rotated:
        return _gaussian("ill_gaussian", f"{description}; C is diagonal", np.sqrt(variance))
    return _gaussian(
        "ill_gaussian_rotated",
        f"{description}; C's axes turned by a random rotation (numpy default_rng({ROTATION_SEED}))",
        np.sqrt(variance),
        _random_rotation(dim, ROTATION_SEED),
    )


def ill_gaussian_rotated() -> DensityTarget:
    """`ill_gaussian(rotated=True)`, for lookup by name on the command line.

    Examples
    --------
    >>> ill_gaussian_rotated().name
    'ill_gaussian_rotated'
    """
    return ill_gaussian(rotated=True)
