"""A mixture of Gaussians with full covariances as an independence proposal.

It is a pytree of arrays, so that mixtures with as many components share one compiled program
(McLachlan and Peel 2000, doi:10.1002/0471721182).
"""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.types import RngKey

Point = Float[Array, " dim"]


@final
class GaussianMixture(eqx.Module):
    """`sum_k w_k N(m_k, L_k L_k^T)`.

    Parameters
    ----------
    log_weights
        `(num,)`, of weights that sum to 1.
    means
        `(num, dim)`.
    factors, inverses
        Lower triangular `L_k` and their inverses, each `(num, dim, dim)`.
    """

    log_weights: Float[Array, " num"]
    means: Float[Array, "num dim"]
    factors: Float[Array, "num dim dim"]
    inverses: Float[Array, "num dim dim"]

    def component_log_probs(self, x: Point) -> Float[Array, " num"]:
        """Log density of every component at a point, times its weight."""
        z = jnp.einsum("kij,kj->ki", self.inverses, x[None] - self.means)
        log_det = jnp.sum(jnp.log(jnp.diagonal(self.inverses, axis1=1, axis2=2)), axis=1)
        constant = x.size / 2 * np.log(2 * np.pi)
        return self.log_weights + log_det - 0.5 * jnp.sum(z**2, axis=1) - constant

    def log_prob(self, x: Point) -> Float[Array, ""]:
        """Log density at a point."""
        return jax.nn.logsumexp(self.component_log_probs(x))

    def sample_and_log_prob(self, rng_key: RngKey) -> tuple[Point, Float[Array, ""]]:
        """One draw and its log density."""
        key_component, key_normal = jax.random.split(rng_key)
        k = jax.random.categorical(key_component, self.log_weights)
        z = jax.random.normal(key_normal, self.means.shape[1:], self.means.dtype)
        x = self.means[k] + self.factors[k] @ z
        return x, self.log_prob(x)

    def as_independent(self) -> IndependentProposal:
        """The mixture as kernels take it."""
        return IndependentProposal(self.sample_and_log_prob, self.log_prob)


def gaussian_mixture(weights: Any, means: Any, factors: Any) -> GaussianMixture:
    """A mixture of the present precision.

    Parameters
    ----------
    weights
        `(num,)`, above 0, of sum 1.
    means, factors
        `(num, dim)`, and lower triangular `(num, dim, dim)`.

    Examples
    --------
    >>> mixture = gaussian_mixture([1.0], [[0.0, 0.0]], [np.eye(2)])
    >>> round(float(mixture.log_prob(jnp.zeros(2))), 3)  # -log 2 pi
    -1.838
    """
    dtype = jnp.result_type(float)
    arrays = np.log(weights), means, factors, np.linalg.inv(np.asarray(factors))
    return GaussianMixture(*(jnp.asarray(array, dtype) for array in arrays))
