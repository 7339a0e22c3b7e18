"""Denoising score matching: the noised distribution's score from pairs of clean and noised points.

    1/2 E |s(x + sigma z) + z / sigma|^2,    z ~ N(0, I),

is explicit score matching on the noised distribution `p_sigma` up to a constant (Vincent 2011,
doi:10.1162/NECO_a_00142, equation 11). A small sigma leaves little bias, `p_sigma` being near p,
and a large variance: the target's is `1 / sigma^2` a coordinate.

This file holds the loss at one sigma, and the error at given times that the losses over many noise
levels share.
"""

from functools import partial
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive
from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.features import drop_condition
from numpyro_score.training.losses.base import Batch, as_batch, check_score, mean_over, squared_norm
from numpyro_score.training.losses.levels import Weight
from numpyro_score.types import RngKey


@final
class DenoisingScoreMatching(eqx.Module):
    """`1/2 E |s(x + sigma z) + z / sigma|^2` for a model `s(x)` without time.

    Parameters
    ----------
    sigma
        Sd of the noise, above 0, units of the data.

    Raises
    ------
    ValueError
        If sigma is not above 0; when called, if the model does not fit the batch.

    Examples
    --------
    For a single data point the noised distribution is Gaussian, and its score has no error:

    >>> import jax, jax.numpy as jnp
    >>> loss = DenoisingScoreMatching(sigma=0.5)
    >>> error = loss(lambda x: -x / 0.25, jnp.zeros((10, 2)), jax.random.key(0))
    >>> round(float(error), 6)
    0.0
    """

    sigma: float = eqx.field(converter=float)

    def __check_init__(self) -> None:
        check_positive("sigma", self.sigma)

    def __call__(self, model: Any, batch: Batch, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *event)`."""
        batch = as_batch(batch)
        check_score(model, batch[0])
        z = jax.random.normal(rng_key, batch.shape, batch.dtype)

        def loss(x0: Array, z: Array) -> Float[Array, ""]:
            return squared_norm(model(x0 + self.sigma * z) + z / self.sigma) / 2

        return mean_over(loss, batch, z)


def process_of(model: Any, noise: NoiseProcess | None) -> NoiseProcess:
    """The process that a loss was given, or else the model's own.

    Raises
    ------
    ValueError
        If neither has one.
    """
    if noise is None:
        noise = getattr(model, "noise", None)
    if not isinstance(noise, NoiseProcess):
        raise ValueError(
            f"the model, a {type(model).__name__}, has no noise process of its own; give the loss "
            "one: noise=VE(...) from numpyro_score.noise"
        )
    return noise


def check_drop_rate(drop_rate: float) -> None:
    """Refuse a rate that is no probability."""
    if not 0 <= drop_rate < 1:
        raise ValueError(f"drop_rate is {drop_rate:g} but must lie in [0, 1)")


def split_condition(batch: Any) -> tuple[Batch, Any]:
    """Points and their condition, None where there is none: a batch is `x` or a pair `(x, y)`."""
    if isinstance(batch, tuple | list):
        if len(batch) != 2:
            raise ValueError(
                f"a batch of {len(batch)} parts; denoising takes points x, or a pair (x, y) of "
                "points and conditions"
            )
        return as_batch(batch[0]), batch[1]
    return as_batch(batch), None


def denoising_error(
    model: Any,
    batch: Any,
    rng_key: RngKey,
    noise: NoiseProcess,
    times: Float[Array, " batch"],
    weight: Weight,
    drop_rate: float = 0.0,
) -> Float[Array, ""]:
    """`1/2 E lambda |s(x_t, t) + z / sigma|^2` at given times, one a point.

    Parameters
    ----------
    model
        `(x, t)` or `(x, t, y)` -> score. If it has `predict_noise`, that is asked instead of
        dividing by sigma what was multiplied by it.
    batch
        Points `(batch, *event)`, or a pair of them and of their conditions.
    rng_key
        For the noise.
    noise, times, weight
        The process, where to noise each point up to, and lambda.
    drop_rate
        Probability with which a condition is left out.
    """
    x0, y = split_condition(batch)
    if y is not None and drop_rate > 0:
        rng_key, key_drop = jax.random.split(rng_key)
        keys = jax.random.split(key_drop, len(x0))
        y = jax.vmap(partial(drop_condition, rate=drop_rate))(keys, y)
    condition = () if y is None else (y,)
    check_score(model, x0[0], times[0], *jax.tree.map(lambda leaf: leaf[0], condition))
    z = jax.random.normal(rng_key, x0.shape, x0.dtype)
    return noise_error(model, x0, z, z, noise, times, weight, *condition)


def noise_error(
    model: Any,
    x0: Batch,
    z: Batch,
    target: Batch,
    noise: NoiseProcess,
    times: Float[Array, " batch"],
    weight: Weight,
    *condition: Any,
) -> Float[Array, ""]:
    """`1/2 E (lambda / sigma^2) |target - predicted noise|^2`, at given noise.

    Parameters
    ----------
    model
        As in `denoising_error`.
    x0, z, target
        Clean points, their noise, and what is predicted of the noise: each `(batch, *event)`.
    noise, times, weight
        As in `denoising_error`.
    condition
        Of the points, where the model takes one.
    """
    alpha, sigma = noise.alpha(times), noise.sigma(times)
    predict_noise = getattr(model, "predict_noise", None)

    def error(
        x0: Array, z: Array, target: Array, t: Array, alpha: Array, sigma: Array, *y: Any
    ) -> Array:
        x = alpha * x0 + sigma * z
        predicted = -sigma * model(x, t, *y) if predict_noise is None else predict_noise(x, t, *y)
        return squared_norm(target - predicted)

    errors = jax.vmap(error)(x0, z, target, times, alpha, sigma, *condition)
    return jnp.mean(weight(alpha, sigma) / sigma**2 * errors) / 2
