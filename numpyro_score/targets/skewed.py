"""A skewed target: independent standard Gumbel coordinates, density `exp(-x - exp(-x))`.

Its raw moments follow from its cumulants `gamma, pi^2/6, 2 zeta(3), pi^4/15` (Johnson, Kotz and
Balakrishnan, Continuous Univariate Distributions 2, chapter 22). A kernel that is correct only on
symmetric targets fails here.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.targets.base import DensityTarget
from numpyro_score.targets.expectation import moments
from numpyro_score.types import RngKey

APERY = 1.2020569031595942
"""zeta(3)."""


def _logdensity(x: Float[Array, " dim"]) -> Float[Array, ""]:
    return -jnp.sum(x + jnp.exp(-x))


def _draw(rng_key: RngKey, dim: int) -> Float[Array, " dim"]:
    return jax.random.gumbel(rng_key, (dim,))


def gumbel(dim: int = 2) -> DensityTarget:
    """Independent standard Gumbel coordinates: mean .577, variance pi^2/6, skewness 1.14.

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
    >>> mean, second = gumbel().expectations
    >>> round(float(mean.truth[0]), 4), round(float(second.truth[0]), 4)
    (0.5772, 1.9781)
    """
    k1, k2, k3, k4 = np.euler_gamma, np.pi**2 / 6, 2 * APERY, np.pi**4 / 15
    second = k2 + k1**2
    fourth = k4 + 4 * k3 * k1 + 3 * k2**2 + 6 * k2 * k1**2 + k1**4
    return DensityTarget(
        name="gumbel",
        description=f"{dim} independent standard Gumbel coordinates, each exp(-x - exp(-x))",
        dim=dim,
        logdensity_fn=_logdensity,
        expectations=moments("x", *(np.full(dim, m) for m in (k1, second, fourth))),
        draw_fn=partial(_draw, dim=dim),
    )
