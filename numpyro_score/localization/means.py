"""Posterior means of `x` given an observation: the interface, from scores, and from points.

A posterior mean is a function `m(y, t)` of one observation and a scalar time. One that is estimated
sequentially, by chains that continue from time to time, is an object with `start` and `update`.

The isotropic scheme is a diffusion model with another time scale: `Y_t / t = x + W_t / t` is `x`
with noise of sd `t^(-1/2)`. For any noise process it is `x_s / alpha` at the time `s` with
`sigma / alpha = t^(-1/2)`. For the Ornstein-Uhlenbeck process this is `Y_t / sqrt(t (1 + t))`,
`alpha^2 = t / (1 + t)` (Montanari 2023, arXiv:2305.10690, section 2).
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.localization.base import Observation, Point, Summary
from numpyro_score.noise import NoiseProcess
from numpyro_score.scores import ScoreModel
from numpyro_score.scores.base import Condition, refuse_condition
from numpyro_score.types import RngKey, Scalar

MeanFn: TypeAlias = Callable[[Observation, Scalar], Summary]
"""`m(y, t)` of one observation and a scalar time."""


@runtime_checkable
class RunningMean(Protocol):
    """A posterior mean with a state: `memory` is a pytree that is carried from time to time.

    Examples
    --------
    >>> import jax.numpy as jnp, numpyro.distributions as dist
    >>> from numpyro_score.localization import InnerChains, IsotropicGaussian
    >>> wide = dist.Normal(0.0, 3.0).expand([1]).to_event(1)
    >>> chains = InnerChains(IsotropicGaussian(1), lambda x: -0.5 * jnp.sum(x**2), wide)
    >>> isinstance(chains, RunningMean)
    True
    """

    def start(self, rng_key: RngKey, t: Scalar) -> tuple[Observation, Any]:
        """An observation at the first time, and the memory there."""

    def update(
        self, rng_key: RngKey, memory: Any, y: Observation, t: Scalar
    ) -> tuple[Summary, Any]:
        """The posterior summary at `(y, t)`, and the memory after it."""


@final
class DenoiserMean(eqx.Module):
    """Posterior mean of the isotropic scheme from a score at every noise level.

    Parameters
    ----------
    score
        A score model with its noise process.

    Raises
    ------
    TypeError
        It is not a score model.

    Examples
    --------
    For a standard Gaussian, `E[x | Y_t = y] = y / (1 + t)`:

    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import OU
    >>> from numpyro_score.scores import gaussian_score
    >>> m = DenoiserMean(gaussian_score(jnp.zeros(1), jnp.ones(1), OU()))
    >>> m(jnp.array([4.0]), 3.0).round(3).tolist()
    [1.0]
    """

    score: ScoreModel

    def __check_init__(self) -> None:
        if not isinstance(self.score, ScoreModel):
            raise TypeError(
                f"the score is a {type(self.score).__name__}; give a score model with a noise "
                "process, such as FunctionScore(fn, noise)"
            )

    def __call__(self, y: Observation, t: Scalar) -> Summary:
        """`E[x | Y_t = y]`; times before that of the largest noise level are replaced by it."""
        noise = self.score.noise
        # the largest noise level is used for all earlier times, such as 0
        t = jnp.maximum(t, noise.ratio(1.0) ** -2).astype(y.dtype)
        level = noise.time_of(t**-0.5)
        return self.score.denoise(noise.alpha(level) * y / t, level)


@final
class LocalizationScore(ScoreModel):
    """The score at every noise level from a posterior mean of the isotropic scheme.

    This is the inverse of `DenoiserMean`.

    Parameters
    ----------
    mean
        `m(y, t)`.
    noise
        The noise process of the score.

    Raises
    ------
    TypeError
        The mean cannot be called.

    Examples
    --------
    For a standard Gaussian the two conversions cancel:

    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import OU
    >>> from numpyro_score.scores import gaussian_score
    >>> score = gaussian_score(jnp.zeros(1), jnp.ones(1), OU())
    >>> again = LocalizationScore(DenoiserMean(score), OU())
    >>> x = jnp.array([2.0])
    >>> again(x, 0.2).round(3).tolist(), score(x, 0.2).round(3).tolist()
    ([-2.0], [-2.0])
    """

    mean: MeanFn
    noise: NoiseProcess

    def __init__(self, mean: MeanFn, noise: NoiseProcess):
        if not callable(mean):
            raise TypeError(f"the mean is a {type(mean).__name__}; a callable (y, t) is needed")
        self.mean = mean
        self.noise = noise

    def __call__(self, x: Point, t: Scalar, y: Condition | None = None) -> Point:
        """The score at one point `x` and time `t`."""
        return self.noise.score(x, t, self.denoise(x, t, y))

    def denoise(self, x: Point, t: Scalar, y: Condition | None = None) -> Point:
        """`m` at `Y = x / (alpha r^2)` and time `1 / r^2`, with `r = sigma / alpha`."""
        refuse_condition(self, y)
        clock = self.noise.ratio(t) ** -2
        return self.mean(clock * x / self.noise.alpha(t), clock)


@final
class WeightedPoints(eqx.Module):
    """Posterior mean from weighted points: exact for a discrete distribution, else Monte Carlo.

    The points may be all states of spins, a data set, or draws with importance weights.

    Parameters
    ----------
    process
        The observations.
    points
        `(num, *shape)`.
    log_weights
        `(num,)`: log probabilities up to a constant, or `log p - log q` for importance draws. None
        for equal weights.

    Raises
    ------
    ValueError
        The process cannot observe the points, or the weights are not valid.

    Examples
    --------
    Two spins that mostly agree, observed through the channel:

    >>> import jax.numpy as jnp
    >>> from numpyro_score.localization import BinaryChannel
    >>> spins = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> m = WeightedPoints(BinaryChannel(2), spins, jnp.array([1.0, -1.0, -1.0, 1.0]))
    >>> m(jnp.array([1.0, 1.0]), 0.5).round(2)
    Array([0.74, 0.74], dtype=float32)
    """

    process: Any
    points: Float[Array, "num ..."]
    log_weights: Float[Array, " num"]

    def __init__(self, process: Any, points: Any, log_weights: Any = None):
        process.check_points(points)
        self.process = process
        self.points = jnp.asarray(points, float)
        given = jnp.zeros(len(self.points)) if log_weights is None else jnp.asarray(log_weights)
        if given.shape != (len(self.points),) or not bool(jnp.isfinite(given.max())):
            raise ValueError(
                f"log_weights have shape {given.shape} for {len(self.points)} points; give one for "
                "each, the largest finite and none NaN"
            )
        self.log_weights = given.astype(self.points.dtype)

    def weights(self, y: Observation, t: Scalar) -> Float[Array, " num"]:
        """Posterior probabilities of the points."""
        likelihood = jax.vmap(lambda x: self.process.log_likelihood(y, x, t))(self.points)
        return jax.nn.softmax(self.log_weights + likelihood)

    def __call__(self, y: Observation, t: Scalar) -> Summary:
        """The posterior summary at `(y, t)`."""
        return self.process.summarize(self.points, self.weights(y, t))

    def effective_sample_size(self, y: Observation, t: Scalar) -> Float[Array, ""]:
        """Effective sample size of the weights, `1 / sum w^2`."""
        return 1 / jnp.sum(self.weights(y, t) ** 2)
