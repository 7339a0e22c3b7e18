"""Regression of `x` on its observations: how the posterior mean for localization is learned.

    E_t E [ error(m(Y_t, t), x) ],    Y_t = observe(x, t)

Its minimiser at every time is the posterior mean, or for erasure the conditional distribution of
each coordinate, for any distribution of the times. The observation process defines the error: the
squared error or the cross-entropy.

Montanari 2023, arXiv:2305.10690.
"""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.localization import ObservationProcess
from numpyro_score.training.losses.levels import spread
from numpyro_score.types import RngKey


@final
class LocalizationRegression(eqx.Module):
    """Loss of `m(y, t)`, such as a `MeanNetwork`, on a batch of `x`.

    Parameters
    ----------
    process
        The observations.
    first, last
        Ends of the times.
    is_geometric
        Whether times are uniform in their logarithm (Gaussian and Poisson observations) or
        uniform (those that end at time 1).
    weight
        `t -> weight` of the error; with Gaussian observations `1 + t v`, for data of variance `v`,
        weighs all times alike.

    Raises
    ------
    ValueError
        If the times do not rise, or go past the process's end.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.localization import IsotropicGaussian
    >>> loss = LocalizationRegression(IsotropicGaussian(2), 0.01, 100.0)
    >>> exact = lambda y, t: jnp.zeros(2)  # of data at 0
    >>> float(loss(exact, jnp.zeros((8, 2)), jax.random.key(0)))
    0.0
    """

    process: ObservationProcess
    first: float = eqx.field(static=True)
    last: float = eqx.field(static=True)
    is_geometric: bool = eqx.field(static=True, default=True)
    weight: Callable[[Array], Array] = eqx.field(static=True, default=jnp.ones_like)

    def __check_init__(self) -> None:
        low = 0.0 if not self.is_geometric else 1e-300
        if not low <= self.first < self.last <= self.process.last_time:
            raise ValueError(
                f"times from {self.first:g} to {self.last:g}; they have to rise from "
                f"{'0 or more' if not self.is_geometric else 'above 0'} to at most "
                f"{self.process.last_time:g}"
            )

    def __call__(self, model: Any, batch: Any, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *shape)`.

        Raises
        ------
        ValueError
            If its points have another shape than the process's.
        """
        if batch.shape[1:] != self.process.shape:
            raise ValueError(
                f"the batch has points of shape {batch.shape[1:]}, but the process observes "
                f"{self.process.shape}"
            )
        key_times, key_observe = jax.random.split(rng_key)
        u = spread(key_times, len(batch), batch.dtype)
        times = (
            self.first * (self.last / self.first) ** u
            if self.is_geometric
            else self.first + u * (self.last - self.first)
        )

        def one(rng_key: RngKey, x: Array, t: Array) -> Array:
            return self.process.error(model(self.process.observe(rng_key, x, t), t), x)

        keys = jax.random.split(key_observe, len(batch))
        return jnp.mean(self.weight(times) * jax.vmap(one)(keys, batch, times))
