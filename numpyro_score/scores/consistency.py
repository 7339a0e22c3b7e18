"""Consistency models: from any noise level to the data in one call of a network.

The consistency function takes a point of a path of the probability flow to the start of the path,
at time `end` near the data (Song et al. 2023, arXiv:2303.01469). Here a score model is wrapped: its
predicted noise `e` is the slope of one straight step over the whole way,

    f(x, t) = alpha_end (x / alpha + (rho_end - rho) e(x, t)),    rho = sigma / alpha.

At `t = end` this is x for every network, which is the boundary condition. For `ScoreNetwork` with
velocity as its output it is the parameterisation of Song et al.; with the score itself it is one
step of DDIM, from which training starts.
"""

from typing import Any, final

import equinox as eqx
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import ScoreModel
from numpyro_score.types import Scalar

Event = Float[Array, "..."]
Condition = Float[Array, " condition"]

END = 1e-3
"""Default time of the data; the noise of most processes is negligible there."""


@final
class ConsistencyModel(eqx.Module):
    """A consistency function `f(x, t)` or `f(x, t, y)` from a score model.

    Parameters
    ----------
    score
        Any score model, conditional or not, whose predicted noise becomes that of the whole step;
        its network is what training changes.
    end
        Time of the draws, at which `f(x, end) = x`; in (0, 1).

    Raises
    ------
    TypeError
        If the score is not a score model, which takes a noise level.
    ValueError
        If `end` is not between 0 and 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import gaussian_score
    >>> score = gaussian_score(jnp.zeros(1), jnp.ones(1), VE(sigma_min=0.1, sigma_max=10.0))
    >>> model = ConsistencyModel(score)
    >>> x = jnp.array([2.0])
    >>> model(x, model.end).tolist(), bool(abs(model(x, 1.0))[0] < 0.3)
    ([2.0], True)
    """

    score: Any
    end: float = eqx.field(static=True, default=END, converter=float)

    def __check_init__(self) -> None:
        if not isinstance(self.score, ScoreModel):
            raise TypeError(
                f"the score is a {type(self.score).__name__}; a consistency model needs a score "
                "model, which takes a noise level and knows its noise process: ScoreNetwork, or "
                "FunctionScore(fn, noise) for a function"
            )
        if not 0 < self.end < 1:
            raise ValueError(f"end is {self.end:g} but must lie between 0 and 1; .001 is usual")

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The point at time `end` to which the flow takes `x` from time `t`."""
        if hasattr(self, "whitening"):
            whitening = self.whitening
            return whitening.from_standard(self.standard(whitening.to_standard(x), t, y))
        noise = self.noise
        slope = self.score.predict_noise(x, t, y)
        way = noise.ratio(self.end) - noise.ratio(t)
        moved = noise.alpha(self.end) * (x / noise.alpha(t) + way * slope)
        return moved.astype(x.dtype)

    @property
    def noise(self) -> NoiseProcess:
        """The noise process."""
        return self.score.noise

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one point, or None if the score does not know it."""
        return self.score.shape

    @property
    def data_moments(self) -> Any:
        """Mean and sd of the data, as of the score."""
        return self.score.data_moments

    @property
    def standard(self) -> "ConsistencyModel":
        """That of a `WhitenedScore` in whitened coordinates, where samplers work."""
        return ConsistencyModel(self.score.standard, self.end)

    @property
    def whitening(self) -> Any:
        """The whitening of a `WhitenedScore`; other scores have none."""
        return self.score.whitening
