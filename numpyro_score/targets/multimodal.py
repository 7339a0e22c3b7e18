"""Targets with many separated modes, up to high dimension, with exact draws and evidence.

Definitions of this package; published targets of similar names differ in their constants. Mixtures
are `sum_k w_k N(m_k, s^2 I)` (see `mixture`). The wells are a product of the quartic double well of
statistical physics and of unit Gaussians (Noe et al. 2019, doi:10.1126/science.aaw1147, has one of
two wells).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.targets.base import DensityTarget
from numpyro_score.targets.expectation import Draws, Expectation, moments
from numpyro_score.targets.mixture import (
    gaussian_mixture,
    responsibilities,
    responsibility_sd,
)
from numpyro_score.types import RngKey

WELL_GRID = np.linspace(-4.0, 4.0, 20_001)
"""Points of the quadrature of a double well; the density beyond them is below e^-150."""


def _separated_sd(weights: np.ndarray) -> np.ndarray:
    """Sd of responsibilities that are 0 or 1."""
    return np.sqrt(weights * (1 - weights))


def _planar_sd(weights: np.ndarray, means: np.ndarray, sds: np.ndarray) -> np.ndarray:
    """Sd of the responsibilities of a mixture in the plane, by the trapezoid rule."""
    edge = np.abs(means).max() + 10 * sds.max()
    axis = np.arange(-edge, edge, sds.min() / 3)
    second = np.zeros(len(weights))
    total = 0.0
    for row in axis:  # a row at a time, in bounded memory
        x = np.stack([np.full_like(axis, row), axis], axis=1)
        away = ((x[:, None] - means) ** 2).sum(axis=2) / (2 * sds**2)
        density = np.exp(-away) / sds**2 @ weights
        second += density @ responsibilities({"x": x}, weights, means, sds) ** 2
        total += density.sum()
    return np.sqrt(second / total - weights**2)


def ring_of_modes() -> DensityTarget:
    """Eight modes on a circle of radius 10, weights k / 36, sd .7.

    Examples
    --------
    >>> ring_of_modes().expectations[2].truth.round(3).tolist()
    [0.028, 0.056, 0.083, 0.111, 0.139, 0.167, 0.194, 0.222]
    """
    angle = np.arange(8) * np.pi / 4
    weights = np.arange(1, 9) / 36
    return gaussian_mixture(
        name="ring_of_modes",
        description="8 Gaussians of sd .7 and weights k / 36 on a circle of radius 10",
        weights=weights,
        means=10 * np.stack([np.cos(angle), np.sin(angle)], axis=1),
        sds=np.full(8, 0.7),
        weight_sd=_separated_sd(weights),
    )


def forty_modes() -> DensityTarget:
    """Forty modes of equal weight and sd 1, means uniform in [-40, 40]^2 from a fixed seed.

    Examples
    --------
    >>> forty_modes().expectations[2].truth.shape
    (40,)
    """
    means = np.random.default_rng(1).uniform(-40, 40, (40, 2))
    weights, sds = np.full(40, 1 / 40), np.ones(40)
    return gaussian_mixture(
        name="forty_modes",
        description="40 Gaussians of sd 1, means from default_rng(1).uniform(-40, 40, (40, 2))",
        weights=weights,
        means=means,
        sds=sds,
        weight_sd=_planar_sd(weights, means, sds),
    )


def random_modes(dim: int = 10) -> DensityTarget:
    """Four modes of sd 1 and weights .1, .2, .3, .4, means uniform in [-8, 8]^dim.

    Parameters
    ----------
    dim
        Dimension, at least 5, where the modes are separated.

    Raises
    ------
    ValueError
        If `dim` is less than 5.

    Examples
    --------
    >>> random_modes(50).dim
    50
    """
    check_whole("dim", dim, 5)
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    return gaussian_mixture(
        name="random_modes",
        description="4 Gaussians of sd 1, means from default_rng(0).uniform(-8, 8, (4, dim))",
        weights=weights,
        means=np.random.default_rng(0).uniform(-8, 8, (4, dim)),
        sds=np.ones(4),
        weight_sd=_separated_sd(weights),
    )


def narrow_modes(dim: int = 32) -> DensityTarget:
    """`.75 N(-.5, .08 I) + .25 N(1, .08 I)`, variances: `5.3 sqrt(dim)` sds apart.

    Parameters
    ----------
    dim
        Dimension, at least 1.

    Raises
    ------
    ValueError
        If `dim` is less than 1.

    Examples
    --------
    >>> narrow_modes(128).expectations[2].truth.tolist()
    [0.75, 0.25]
    """
    check_whole("dim", dim)
    weights, sds = np.array([0.75, 0.25]), np.full(2, np.sqrt(0.08))
    centers = np.array([-0.5, 1.0])
    return gaussian_mixture(
        name="narrow_modes",
        description=".75 N(-.5 1, .08 I) + .25 N(1 1, .08 I), variances",
        weights=weights,
        means=np.outer(centers, np.ones(dim)),
        sds=sds,
        weight_sd=responsibility_sd(weights, np.sqrt(dim) * centers, sds),
    )


def _well(x: Any) -> Any:
    """Log density of one double well."""
    return -(x**4) + 5 * x**2 + 0.4 * x


def _wells_logdensity(x: Float[Array, " dim"], num_wells: int) -> Float[Array, ""]:
    return jnp.sum(_well(x[:num_wells])) - 0.5 * jnp.sum(x[num_wells:] ** 2)


def _well_distribution() -> tuple[np.ndarray, float]:
    """Distribution function of one well on the grid, and the log of its integral."""
    value = _well(WELL_GRID)
    density = np.exp(value - value.max())
    steps = (density[1:] + density[:-1]) / 2 * np.diff(WELL_GRID)
    total = steps.sum()
    return np.append(0.0, np.cumsum(steps)) / total, float(np.log(total) + value.max())


def _wells_draw(rng_key: RngKey, dim: int, num_wells: int) -> Float[Array, " dim"]:
    key_wells, key_rest = jax.random.split(rng_key)
    cumulative, _ = _well_distribution()
    u = jax.random.uniform(key_wells, (num_wells,))
    wells = jnp.interp(u, jnp.asarray(cumulative, u.dtype), jnp.asarray(WELL_GRID, u.dtype))
    return jnp.concatenate([wells, jax.random.normal(key_rest, (dim - num_wells,))])


def _is_right(draws: Draws, num_wells: int) -> Any:
    x = draws["x"]
    xp = x.__array_namespace__()
    return xp.astype(x[..., :num_wells] > 0, x.dtype)


def double_wells(dim: int = 16) -> DensityTarget:
    """A product of `dim / 2` double wells `-x^4 + 5 x^2 + .4 x` and as many unit Gaussians.

    There are `2^(dim / 2)` modes. The right-hand well of each coordinate has probability .772.

    Parameters
    ----------
    dim
        Dimension, at least 2; of an odd one the Gaussians get one more.

    Raises
    ------
    ValueError
        If `dim` is less than 2.

    Examples
    --------
    >>> double_wells(16).expectations[2].truth.round(3).tolist()
    [0.772, 0.772, 0.772, 0.772, 0.772, 0.772, 0.772, 0.772]
    """
    check_whole("dim", dim, 2)
    num_wells = dim // 2
    cumulative, log_integral = _well_distribution()
    middle = (WELL_GRID[1:] + WELL_GRID[:-1]) / 2
    first, second, fourth = (np.diff(cumulative) @ middle**power for power in (1, 2, 4))
    share = float(np.diff(cumulative) @ (middle > 0))
    rest = dim - num_wells
    parts = [
        np.append(np.full(num_wells, well), np.full(rest, normal))
        for well, normal in ((first, 0.0), (second, 1.0), (fourth, 3.0))
    ]
    right = Expectation(
        name="right_well",
        variable="x",
        fn=partial(_is_right, num_wells=num_wells),
        truth=np.full(num_wells, share),
        sd=np.full(num_wells, np.sqrt(share * (1 - share))),
    )
    return DensityTarget(
        name="double_wells",
        description="dim / 2 coordinates exp(-x^4 + 5 x^2 + .4 x), the rest N(0, 1)",
        dim=dim,
        logdensity_fn=partial(_wells_logdensity, num_wells=num_wells),
        expectations=(*moments("x", *parts), right),
        draw_fn=partial(_wells_draw, dim=dim, num_wells=num_wells),
        log_evidence=num_wells * log_integral + rest / 2 * np.log(2 * np.pi),
    )
