"""What the output of a function stands for: noise, denoised point, velocity or score.

Each is a class with one method, from output to score; the formulas are in
`numpyro_score.noise.convert`.
"""

from abc import abstractmethod
from typing import Any, ClassVar, final

import equinox as eqx
from jaxtyping import Array, Float

from numpyro_score.noise import denoised_to_score, noise_to_score, velocity_to_score

Event = Float[Array, "..."]


class Prediction(eqx.Module):
    """The interface: how an output becomes a score.

    Attributes
    ----------
    falls_with_noise
        Whether, of a smooth density, the output tends to 0 with the noise.
    """

    falls_with_noise: eqx.AbstractClassVar[bool]

    @abstractmethod
    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """The score at `x` of signal `alpha` and noise `sigma`, scalars or arrays like `x`."""


@final
class PredictNoise(Prediction):
    """The output is `E[z | x]`."""

    falls_with_noise: ClassVar[bool] = True

    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """`-z / sigma`."""
        return noise_to_score(x, alpha, sigma, output)


@final
class PredictDenoised(Prediction):
    """The output is `E[x_0 | x]`; small noise is read off a small difference."""

    falls_with_noise: ClassVar[bool] = False

    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """`(alpha x_0 - x) / sigma^2`."""
        return denoised_to_score(x, alpha, sigma, output)


@final
class PredictVelocity(Prediction):
    """The output is `E[alpha z - sigma x_0 | x]`: noise where there is little, data where much."""

    falls_with_noise: ClassVar[bool] = True

    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """`-(x + alpha v / sigma) / (alpha^2 + sigma^2)`."""
        return velocity_to_score(x, alpha, sigma, output)


@final
class PredictScore(Prediction):
    """The output is the score itself."""

    falls_with_noise: ClassVar[bool] = False

    def to_score(self, x: Event, alpha: Any, sigma: Any, output: Event) -> Event:
        """The output."""
        return output
