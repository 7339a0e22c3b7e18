"""A score model from any callable: a function, or a model of another library.

Denoised points, noise and velocity follow by Tweedie's formula (Efron 2011,
doi:10.1198/jasa.2011.tm11181).
"""

from collections.abc import Callable
from typing import Any, final

import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import ScoreModel
from numpyro_score.scores.predictions import Prediction, PredictScore
from numpyro_score.types import Scalar

Event = Float[Array, "..."]
Condition = Float[Array, " condition"]


@final
class FunctionScore(ScoreModel):
    """A callable as a score model.

    Parameters
    ----------
    fn
        `fn(x, t)`, or `fn(x, t, y)` where a condition is given: one point and a scalar time ->
        array of x's shape. A pytree, such as a module of Equinox, is trained and saved with the
        model; a model of another library is called inside of a function.
    noise
        The process.
    prediction
        What the output predicts: `PredictScore()`, the default, `PredictNoise()`,
        `PredictDenoised()` or `PredictVelocity()`.

    Raises
    ------
    TypeError
        If `fn` cannot be called.
    ValueError
        When called, if the output's shape is not x's.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import PredictDenoised
    >>> noise = VE(sigma_min=0.1, sigma_max=10.0)
    >>> model = FunctionScore(lambda x, t: x / 2, noise, PredictDenoised())
    >>> model(jnp.ones(2), 0.5).round(3).tolist(), model.denoise(jnp.ones(2), 0.5).tolist()
    ([-0.5, -0.5], [0.5, 0.5])
    """

    fn: Callable[..., Any]
    noise: NoiseProcess
    prediction: Prediction

    def __init__(
        self, fn: Callable[..., Any], noise: NoiseProcess, prediction: Prediction | None = None
    ):
        if not callable(fn):
            raise TypeError(
                f"fn is a {type(fn).__name__}, which cannot be called; give a function of a point "
                "and a time"
            )
        self.fn = fn
        self.noise = noise
        self.prediction = PredictScore() if prediction is None else prediction

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` and time `t`."""
        output = self.fn(x, t) if y is None else self.fn(x, t, y)
        if jnp.shape(output) != x.shape:
            raise ValueError(
                f"the function returned an array of shape {jnp.shape(output)} for a point of shape "
                f"{x.shape}; it takes one point and has to return an array of its shape"
            )
        return self.prediction.to_score(x, self.noise.alpha(t), self.noise.sigma(t), output)
