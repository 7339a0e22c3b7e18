"""What the output of a network predicts: noise, denoised point, velocity or score.

Each is a class with one method, which converts the output to the score; the formulas are in
`numpyro_score.noise.convert`.

Noise: Ho, Jain and Abbeel 2020, arXiv:2006.11239. Velocity: Salimans and Ho 2022, arXiv:2202.00512.
"""

from abc import abstractmethod
from typing import Any, ClassVar, final

import equinox as eqx
from jaxtyping import Array, Float

from numpyro_score.noise import denoised_to_score, noise_to_score, velocity_to_score

Event = Float[Array, "..."]


class Prediction(eqx.Module):
    """The interface: the conversion of an output to a score.

    Attributes
    ----------
    falls_with_noise
        Whether the output tends to 0 with the noise, if the density is smooth.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x, alpha, sigma = jnp.array([2.0]), 1.0, 0.5
    >>> [
    ...     rule.to_score(x, alpha, sigma, jnp.array([1.0])).tolist()
    ...     for rule in (PredictNoise(), PredictScore())
    ... ]
    [[-2.0], [1.0]]
    """

    falls_with_noise: eqx.AbstractClassVar[bool]

    @abstractmethod
    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """The score at `x` of signal `alpha` and noise `sigma`, scalars or arrays like `x`."""


@final
class PredictNoise(Prediction):
    """The output is `E[z | x]`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> PredictNoise().to_score(jnp.array([2.0]), 1.0, 0.5, jnp.array([1.0])).tolist()
    [-2.0]
    """

    falls_with_noise: ClassVar[bool] = True

    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """`-z / sigma`."""
        return noise_to_score(x, alpha, sigma, output)


@final
class PredictDenoised(Prediction):
    """The output is `E[x_0 | x]`; at small noise the score is a small difference of large numbers.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> PredictDenoised().to_score(jnp.array([2.0]), 1.0, 0.5, jnp.array([1.5])).tolist()
    [-2.0]
    """

    falls_with_noise: ClassVar[bool] = False

    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """`(alpha x_0 - x) / sigma^2`."""
        return denoised_to_score(x, alpha, sigma, output)


@final
class PredictVelocity(Prediction):
    """The output is `E[alpha z - sigma x_0 | x]`: nearly `z` at low noise, `-x_0` at high noise.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> PredictVelocity().to_score(jnp.array([2.0]), 0.6, 0.8, jnp.array([0.0])).tolist()
    [-2.0]
    """

    falls_with_noise: ClassVar[bool] = True

    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """`-(x + alpha v / sigma) / (alpha^2 + sigma^2)`."""
        return velocity_to_score(x, alpha, sigma, output)


@final
class PredictScore(Prediction):
    """The output is the score itself.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> PredictScore().to_score(jnp.array([2.0]), 1.0, 0.5, jnp.array([-2.0])).tolist()
    [-2.0]
    """

    falls_with_noise: ClassVar[bool] = False

    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """The output."""
        return output
