"""Observations by counts: `Y_t` counts events of rate `x >= 0`.

Given the past of `Y` alone, the intensity of the next event is the posterior mean `m(y, t)`
(Montanari 2023, arXiv:2305.10690, section 4; Bremaud 1981, theorem II.T14). `m` is held constant
during a step.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.localization.base import (
    Moments,
    Observation,
    ObservationProcess,
    Point,
    Summary,
)
from numpyro_score.scores.mlp import as_shape
from numpyro_score.types import RngKey, Scalar


@final
class PoissonCounts(ObservationProcess):
    """`Y_t ~ Poisson(t x)`, independently for each coordinate.

    Parameters
    ----------
    shape
        Length of `x`, or its shape.

    Raises
    ------
    ValueError
        A size is below 1.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> y = PoissonCounts(2).observe(jax.random.key(0), jnp.array([3.0, 0.0]), 1e6)
    >>> (y / 1e6).round(1).tolist()
    [3.0, 0.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...]):
        self.shape = as_shape(shape)

    def observe(self, rng_key: RngKey, x: Point, t: Scalar) -> Observation:
        """`Poisson(t x)`."""
        return jax.random.poisson(rng_key, t * x).astype(x.dtype)

    def log_likelihood(self, y: Observation, x: Point, t: Scalar) -> Float[Array, ""]:
        """`sum y log x - t x`."""
        return jnp.sum(jax.scipy.special.xlogy(y, x) - t * x)

    def start(self, rng_key: RngKey) -> Observation:
        """0 counts."""
        del rng_key
        return jnp.zeros(self.shape)

    def step(
        self, rng_key: RngKey, y: Observation, t: Scalar, dt: Scalar, m: Summary
    ) -> Observation:
        """`y + Poisson(m dt)`."""
        del t
        return y + jax.random.poisson(rng_key, dt * m).astype(y.dtype)

    def features(self, y: Observation, t: Scalar, data: Moments) -> tuple[Array, Array]:
        """Centred square roots of the counts, whose variance is about 1/4 for any rate."""
        return 2 * (jnp.sqrt(y + 0.375) - jnp.sqrt(t * data.mean + 0.375)), jnp.log1p(t)

    def link(self, out: Array, y: Observation, t: Scalar, data: Moments) -> Summary:
        """The posterior mean under a Gamma prior with the data's moments, times `exp(out)`."""
        shape, rate = (data.mean / data.sd) ** 2, data.mean / data.sd**2
        return (y + shape) / (t + rate) * jnp.exp(out)

    def _check_support(self, values: np.ndarray) -> None:
        if (values < 0).any():
            raise ValueError(f"a rate is {values.min():g}, but must be 0 or more")
