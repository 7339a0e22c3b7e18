"""Inputs of a network besides the point: noise level and condition.

The log level enters linearly and through slow sines and cosines. A condition is a vector. A missing
one is None or a vector of NaN, and is marked by an indicator. A batch may thus mix points with and
without condition, as training for classifier-free guidance does (Ho and Salimans 2022,
arXiv:2207.12598).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.types import RngKey

FREQUENCIES = np.geomspace(0.25, 1.0, 4)
"""Frequencies in the log level: periods from its whole range down to about 6."""


def drop_condition(
    rng_key: RngKey, y: Float[Array, " condition"], rate: float
) -> Float[Array, " condition"]:
    """Replace a condition by a vector of NaN with probability `rate`.

    Used in training: a network that is trained on points with and without conditions learns both
    scores, which classifier-free guidance needs.

    Parameters
    ----------
    rng_key
        One random key.
    y
        One condition `(condition,)`.
    rate
        Probability with which it is dropped.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> keys = jax.random.split(jax.random.key(0), 1000)
    >>> y = jax.vmap(lambda key: drop_condition(key, jnp.ones(3), 0.2))(keys)
    >>> y.shape, bool(0.15 < jnp.isnan(y[:, 0]).mean() < 0.25)
    ((1000, 3), True)
    """
    return jnp.where(jax.random.bernoulli(rng_key, rate), jnp.nan, y)


class Features(eqx.Module):
    """Level and condition as one vector.

    Parameters
    ----------
    y_dim
        Length of the condition; 0 for a network without one.
    """

    y_dim: int = eqx.field(static=True, default=0)

    def __check_init__(self) -> None:
        if self.y_dim < 0:
            raise ValueError(f"y_dim is {self.y_dim} but must be 0 or more")

    @property
    def size(self) -> int:
        """Length of the vector."""
        return 1 + 2 * len(FREQUENCIES) + (self.y_dim + 1 if self.y_dim else 0)

    def __call__(
        self, level: Float[Array, ""], y: Float[Array, " condition"] | None
    ) -> Float[Array, " features"]:
        """Features `(size,)` of a scalar log level and a condition, None where missing."""
        angle = jnp.asarray(FREQUENCIES, level.dtype) * level
        parts = [level[None] / 2, jnp.sin(angle), jnp.cos(angle)]
        if y is not None and y.shape != (self.y_dim,):
            raise ValueError(
                f"the condition has shape {y.shape} but the network was made for "
                + (f"({self.y_dim},)" if self.y_dim else "none; give it y_dim")
            )
        if self.y_dim:
            y = jnp.full((self.y_dim,), jnp.nan, level.dtype) if y is None else y
            is_given = jnp.all(jnp.isfinite(y))
            parts += [jnp.where(is_given, y, 0.0), is_given[None].astype(level.dtype)]
        return jnp.concatenate(parts)
