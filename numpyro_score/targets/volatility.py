"""Stochastic volatility: a latent log variance that follows an autoregression.

The returns were made once from the model, rounded, and are part of the definition.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from numpyro_score.targets.base import ModelTarget
from numpyro_score.targets.expectation import reference_expectations

RETURNS: Float[np.ndarray, "200"] = np.concatenate(
    [
        [2.24, 0.26, 0.19, -0.25, -1.34, 0.6, -1.07, 0.39, -0.01, 0.91],
        [-0.06, -0.64, 0.26, -0.38, -0.11, 0.02, -0.08, -0.11, -0.55, -0.12],
        [-1.36, -0.12, -0.98, 0.85, 0.93, -1.51, 0.14, -0.12, -0.91, 0.52],
        [-0.39, -1.42, -0.24, -0.14, 0.1, -1.21, 0.42, 0.56, -0.77, -0.36],
        [-0.05, -0.35, 1.02, 0.11, -0.52, -0.41, -0.04, 1.57, -0.12, 0.1],
        [0.39, -0.03, 1.64, -0.41, 0.55, 0.11, 0.42, -0.58, 0.96, -0.07],
        [0.02, -0.45, -0.32, 0.27, 0.38, 0.26, 0.47, 0.33, 0.01, 0.29],
        [0.22, -0.04, 0.32, 0.5, 0.1, -0.13, 0.32, 0.87, -0.09, -0.03],
        [-0.06, 0.62, -1.04, 0.24, 0.81, -0.51, 0.84, 0.27, -0.34, 0.1],
        [-0.73, -0.26, 0.89, -0.47, 0.84, -0.03, 0.38, 0.02, -1.13, -0.3],
        [0.1, -0.61, -0.7, 0.21, -0.34, -0.91, -0.36, 0.49, -0.28, 0.76],
        [1.48, 0.04, -0.97, -1.05, -0.02, 0.69, 0.16, 0.37, -0.34, 0.19],
        [-0.27, -0.17, -0.67, -0.9, -0.36, -0.79, -0.75, 0.53, -0.1, 3.01],
        [1.11, -0.64, 0.75, 0.3, -0.69, 1.17, -0.77, -2.81, 0.76, -0.53],
        [1.11, -0.51, -1.25, 1.54, -0.98, 0.16, 0.93, 0.08, -0.06, 0.08],
        [0.65, -0.62, 0.48, 0.37, 1.4, -0.2, -0.5, 0.38, -0.19, 0.13],
        [0.07, 0.58, -0.32, -0.05, -1.53, -0.66, 0.87, -0.43, -0.42, -0.74],
        [0.39, 0.14, -1.02, 0.58, 0.27, 0.73, -0.6, 1.76, 0.38, -0.14],
        [-0.67, -0.4, 1.33, -0.38, 1.49, 0.84, 1.74, 1.06, -0.08, -2.83],
        [0.39, 1.13, 0.21, 0.6, -0.45, -0.31, -0.77, 1.24, 0.14, -0.48],
    ]
)
"""Observed returns."""

Returns = Float[Array, " time"] | Float[np.ndarray, " time"]


def stochastic_volatility_model(y: Returns) -> None:
    """Returns whose log variance `h_t` is autoregressive, non-centered (Kim, Shephard, Chib 1998).

    `h_t = level + persistence (h_(t-1) - level) + scale z_t`, stationary from the start,
    `y_t ~ N(0, sd exp(h_t / 2))`, with `level ~ N(0, 2)`, `(1 + persistence) / 2 ~ Beta(20, 1.5)`,
    `scale ~ HalfNormal(.5)` (sds; doi:10.1111/1467-937X.00050).

    Parameters
    ----------
    y
        returns `(time,)`.

    Examples
    --------
    >>> from numpyro.infer import Predictive
    >>> draw = Predictive(stochastic_volatility_model, num_samples=3)
    >>> draw(jax.random.key(0), RETURNS)["log_variance"].shape
    (3, 200)
    """
    level = numpyro.sample("level", dist.Normal(0.0, 2.0))
    half = numpyro.sample("half_persistence", dist.Beta(20.0, 1.5))
    scale = numpyro.sample("scale", dist.HalfNormal(0.5))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([y.shape[0]]).to_event(1))
    persistence = 2 * half - 1

    def step(before: Array, noise: Array) -> tuple[Array, Array]:
        now = persistence * before + scale * noise
        return now, now

    # a start of this sd is stationary: (1 - persistence)(1 + persistence) has no cancellation
    first = scale * z[0] / jnp.sqrt(4 * half * (1 - half))
    _, rest = jax.lax.scan(step, first, z[1:])
    log_variance = level + jnp.concatenate([first[None], rest])
    numpyro.deterministic("log_variance", log_variance)
    numpyro.sample("y", dist.Normal(0.0, jnp.exp(log_variance / 2)), obs=y)


def stochastic_volatility() -> ModelTarget:
    """Stochastic volatility of 200 returns; 203 dimensions.

    Most coordinates are close to standard normal, and the three parameters that they share are not:
    no matrix makes it isotropic. Reference values are from long chains.

    Examples
    --------
    >>> target = stochastic_volatility()
    >>> target.dim, target.has_exact_draws
    (203, False)
    """
    return ModelTarget(
        name="stochastic_volatility",
        description=(
            "h_t = level + phi (h_(t-1) - level) + scale z_t, y_t ~ N(0, sd exp(h_t / 2)), "
            "200 returns; level ~ N(0, 2), (1 + phi) / 2 ~ Beta(20, 1.5), scale ~ HalfNormal(.5)"
        ),
        model=stochastic_volatility_model,
        model_args=(RETURNS,),
        expectations=reference_expectations("stochastic_volatility"),
    )
