"""Reconstruction: how well points come back from their codes.

    E |x - decode(code + sd z)|^2 / (variance dim) + w KL(N(code, sd^2) | N(0, I))

At `w = 0` codes get no noise. Kingma and Welling 2014, arXiv:1312.6114.
"""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive
from numpyro_score.training.losses.base import Batch, as_batch, mean_over
from numpyro_score.types import RngKey


@final
class Reconstruction(eqx.Module):
    """Squared error of decoded codes, for a model with `encode`, `decode` and `log_sd`.

    Parameters
    ----------
    variance
        Of a coordinate of the data, the unit of the error.
    kl_weight
        w, at least 0.

    Raises
    ------
    ValueError
        If the variance is not above 0, or the weight below 0.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from types import SimpleNamespace
    >>> half = SimpleNamespace(encode=lambda x: x[:1], decode=lambda z: jnp.append(z, 0.0))
    >>> round(float(Reconstruction(1.0)(half, jnp.ones((5, 2)), jax.random.key(0))), 6)
    0.5
    """

    variance: float = eqx.field(converter=float)
    kl_weight: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_positive("variance", self.variance)
        if not 0 <= self.kl_weight < float("inf"):
            raise ValueError(f"kl_weight is {self.kl_weight:g} but must be 0 or more")

    def __call__(self, model: Any, batch: Batch, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *event)`."""
        batch = as_batch(batch)

        def loss(x: Array, key: RngKey) -> Float[Array, ""]:
            code, divergence = model.encode(x), jnp.zeros((), x.dtype)
            if self.kl_weight > 0:
                sd = jnp.exp(model.log_sd)
                divergence = jnp.sum(code**2 + sd**2 - 1 - 2 * model.log_sd) / 2
                code = code + sd * jax.random.normal(key, code.shape, code.dtype)
            error = jnp.mean((x - model.decode(code)) ** 2) / self.variance
            return error + self.kl_weight * divergence

        return mean_over(loss, batch, jax.random.split(rng_key, len(batch)))
