"""A latent time series: a random walk seen through noise, with a gap.

The series was made once from the model, rounded, and is part of the definition.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from numpyro_score.targets.base import ModelTarget
from numpyro_score.targets.expectation import reference_expectations

WALK_Y: Float[np.ndarray, "30"] = np.array(
    [1.0, -0.5, 0.4, -0.2, -0.7, -0.6, -3.8, -2.0, -3.6, -1.6]
    + [np.nan] * 8
    + [-1.6, -1.3, -1.9, -1.2, -0.1, -0.4, -1.0, -0.9, 1.0, -0.6, 0.9, 1.5]
)
"""Observations of the walk; NaN where there is none."""
LOG_SCALE = -0.7
LOG_SCALE_SD = 0.7

Series = Float[Array, " time"] | Float[np.ndarray, " time"]


def random_walk_model(y: Series) -> None:
    """A walk seen through noise: `x_t ~ N(x_(t-1), step_sd)`, `y_t ~ N(x_t, noise_sd)` (sds).

    Parameters
    ----------
    y
        observations `(time,)`, NaN where there is none.

    Examples
    --------
    >>> import jax
    >>> from numpyro.infer import Predictive
    >>> Predictive(random_walk_model, num_samples=3)(jax.random.key(0), WALK_Y)["x"].shape
    (3, 30)
    """
    step_sd = numpyro.sample("step_sd", dist.LogNormal(LOG_SCALE, LOG_SCALE_SD))
    noise_sd = numpyro.sample("noise_sd", dist.LogNormal(LOG_SCALE, LOG_SCALE_SD))
    x = numpyro.sample("x", dist.GaussianRandomWalk(step_sd, num_steps=y.shape[0]))
    is_seen = jnp.isfinite(y)
    seen = dist.Normal(x, noise_sd).mask(is_seen)
    numpyro.sample("y", seen, obs=jnp.where(is_seen, y, 0.0))


def random_walk_with_gap() -> ModelTarget:
    """A random walk of 30 steps seen through noise, with a gap of eight; 32 dimensions.

    `step_sd, noise_sd ~ LogNormal(-.7, .7)`. The two share the variance of the data, and each makes
    a funnel of the steps that it governs. Given both the walk is Gaussian, so that the reference
    values are from quadrature over the two.

    Examples
    --------
    >>> target = random_walk_with_gap()
    >>> target.dim, target.has_exact_draws
    (32, False)
    """
    return ModelTarget(
        name="random_walk_with_gap",
        description=(
            f"step_sd, noise_sd ~ LogNormal({LOG_SCALE:g}, {LOG_SCALE_SD:g}), "
            "x_t ~ N(x_(t-1), sd step_sd), x_0 = 0, "
            "y_t ~ N(x_t, sd noise_sd), 30 steps, 8 of them not observed"
        ),
        model=random_walk_model,
        model_args=(WALK_Y,),
        expectations=reference_expectations("random_walk_with_gap"),
    )
