"""Variance-exploding noise: the signal keeps its scale, the noise grows geometrically.

    alpha = 1,    sigma(t) = sigma_min (sigma_max / sigma_min)^t

(Song et al. 2021, arXiv:2011.13456, section 3.4). The noise at t = 0 is `sigma_min`, not 0.
"""

import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.noise.base import NoiseProcess, as_time
from numpyro_score.types import Time


@final
class VE(NoiseProcess):
    """Variance-exploding process.

    Parameters
    ----------
    sigma_min
        Noise at t = 0, in units of the data; small relative to the finest structure of the data.
    sigma_max
        Noise at t = 1; large relative to the spread of the data. `ladder_from_data` chooses both.

    Raises
    ------
    ValueError
        Unless 0 < sigma_min < sigma_max.

    Examples
    --------
    >>> noise = VE(sigma_min=0.01, sigma_max=100.0)
    >>> float(noise.alpha(0.5)), round(float(noise.sigma(0.5)), 5)
    (1.0, 1.0)
    >>> round(float(noise.time_of(10.0)), 5)
    0.75
    """

    sigma_min: float = eqx.field(static=True, default=0.01, converter=float)
    sigma_max: float = eqx.field(static=True, default=20.0, converter=float)

    def __check_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(
                f"VE got sigma_min = {self.sigma_min:g} and sigma_max = {self.sigma_max:g}; "
                "0 < sigma_min < sigma_max is needed"
            )

    def log_alpha(self, t: Time) -> Float[Array, "..."]:
        """`log alpha`, 0."""
        return jnp.zeros_like(as_time(t))

    def variance(self, t: Time) -> Float[Array, "..."]:
        """`sigma^2`, elementwise."""
        log_sigma = math.log(self.sigma_min) + self._span * as_time(t)
        return jnp.exp(2 * log_sigma)

    def time_of(self, ratio: Time) -> Float[Array, "..."]:
        """Time at which `sigma` is `ratio`."""
        t = (jnp.log(as_time(ratio)) - math.log(self.sigma_min)) / self._span
        return jnp.clip(t, 0.0, 1.0)

    @property
    def _span(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)
