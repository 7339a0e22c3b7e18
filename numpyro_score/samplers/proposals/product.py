"""Independence proposals of independent coordinates: nothing to train, for a target like a product.

Each coordinate has a mixture of Gaussians in one dimension. A product of d coordinates with two
modes each has `2^d` modes, which no list holds, and d mixtures of two (independent factor analysis,
Attias 1999, doi:10.1162/089976699300016458, of known axes).
"""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.samplers.proposals.defensive import (
    HEAVY_DF,
    HEAVY_WEIGHT,
    LearnedProposal,
    location_and_scales,
    with_defensive,
)
from numpyro_score.types import RngKey

Point = Float[Array, " dim"]


@final
class ProductDistribution(eqx.Module):
    """A product of mixtures as a `ScoreDistribution`, whose density needs no auxiliary variables.

    Parameters
    ----------
    log_weights, means, sds
        `(component, dim)`: the mixture of every whitened coordinate. Weights of each sum to 1.
    """

    log_weights: Float[Array, "component dim"]
    means: Float[Array, "component dim"]
    sds: Float[Array, "component dim"]

    @property
    def kind(self) -> str:
        """`"product"`."""
        return "product"

    @property
    def dim(self) -> int:
        """Length of a point."""
        return self.means.shape[1]

    def sample_and_log_prob(self, rng_key: RngKey) -> tuple[Point, Float[Array, ""]]:
        """One draw and its log density."""
        key_components, key_normal = jax.random.split(rng_key)
        which = jax.random.categorical(key_components, self.log_weights, axis=0)[None]
        mean, sd = (jnp.take_along_axis(a, which, axis=0)[0] for a in (self.means, self.sds))
        u = mean + sd * jax.random.normal(key_normal, mean.shape, mean.dtype)
        return u, self._log_prob(u)

    def log_prob(self, rng_key: RngKey, u: Point) -> Float[Array, ""]:
        """Log density at a point; the key is not used."""
        del rng_key
        return self._log_prob(u)

    def _log_prob(self, u: Point) -> Float[Array, ""]:
        terms = self.log_weights - ((u - self.means) / self.sds) ** 2 / 2 - jnp.log(self.sds)
        return jnp.sum(jax.nn.logsumexp(terms, axis=0)) - u.size / 2 * np.log(2 * np.pi)


def product_proposal(
    weights: Any,
    means: Any,
    sds: Any,
    *,
    data: Any,
    center: Any = 0.0,
    factor: Any = None,
    weight: float = HEAVY_WEIGHT,
    df: int = HEAVY_DF,
) -> LearnedProposal:
    """An independence proposal of independent coordinates, each of them a mixture of Gaussians.

    Parameters
    ----------
    weights, means, sds
        `(component, dim)`: the mixture of every coordinate of `u`, with `x = center + factor u`.
        Weights are normalised.
    data
        Points `u`, `(num, dim)`, whose mean and sds are those of the Student t component.
    center, factor, weight, df
        As for `flow_proposal`.

    Raises
    ------
    ValueError, TypeError
        A weight or shape is not valid.

    Examples
    --------
    Four modes, of weights that are products:

    >>> import jax
    >>> weights, means = np.array([[0.3, 0.5], [0.7, 0.5]]), np.array([[-3.0, -3.0], [3.0, 3.0]])
    >>> proposal = product_proposal(weights, means, np.ones((2, 2)), data=means)
    >>> x, log_q = proposal.sample_and_log_prob(jax.random.key(0))
    >>> bool(abs(proposal.log_prob(jax.random.key(0), x) - log_q) < 1e-5)
    True
    """
    shares, places, widths = (np.asarray(a, np.float64) for a in (weights, means, sds))
    if not (shares.ndim == 2 and shares.shape == places.shape == widths.shape):
        raise ValueError(
            f"weights, means and sds have shapes {shares.shape}, {places.shape} and "
            f"{widths.shape}; give three arrays (component, dim)"
        )
    if not ((shares > 0).all() and (widths > 0).all()):
        raise ValueError("weights and sds must be above 0; leave out components of weight 0")
    if not all(np.isfinite(part).all() for part in (shares, places, widths)):
        raise ValueError("weights, means and sds must be finite")
    heavy = location_and_scales(data, shares.shape[1])
    parts = np.log(shares / shares.sum(axis=0)), places, widths
    dtype = jnp.result_type(float)
    learned = ProductDistribution(*(jnp.asarray(part, dtype) for part in parts))
    return with_defensive(learned, heavy, center, factor, weight, df)
