"""What the consistency losses share: neighbouring noise levels, the distance, the error.

A consistency function `f` maps the points of one path of the probability flow to the same point.
Both losses compare it at two neighbouring levels `t_n < t_{n+1}` of a grid of N steps,

    E d(f(x_{n+1}, t_{n+1}), f(x_n, t_n)),

where no gradient flows through the second term, and differ in how `x_n` is made of `x_{n+1}`. The
grid is that of Karras et al. (2022, arXiv:2206.00364), as in Song et al. 2023, arXiv:2303.01469.
The distance and its weight are those of Song and Dhariwal (2023, arXiv:2310.14189): the
pseudo-Huber distance `sqrt(|a - b|^2 + c^2) - c`, with `c` proportional to the root of the
dimension, in units of the data's sd, over the difference of the two levels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_positive
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.grids import edm_ratios
from numpyro_score.training.losses.base import Batch, check_score, mean_over
from numpyro_score.training.losses.denoising import split_condition
from numpyro_score.training.losses.levels import spread
from numpyro_score.types import RngKey

HUBER = 0.03
"""Default of c for one dimension, in units of the data's sd: beyond it the distance is linear."""

Target: TypeAlias = Callable[..., Any]
"""What makes the point at the lower level."""


class Pairs(NamedTuple):
    """Points with noise, and two neighbouring levels for each.

    Attributes
    ----------
    x0, z
        Data and standard normal noise, `(batch, *event)`.
    upper, lower
        Times of the two levels, `(batch,)`.
    condition
        `(y,)`, or empty for points without conditions.
    """

    x0: Batch
    z: Batch
    upper: Float[Array, " batch"]
    lower: Float[Array, " batch"]
    condition: tuple[Any, ...]


def check_consistency(model: Any) -> NoiseProcess:
    """The noise process of a consistency model.

    Raises
    ------
    TypeError
        If the model is not one: it would not keep the boundary condition.
    ValueError
        If it works in whitened coordinates.
    """
    noise, end = getattr(model, "noise", None), getattr(model, "end", None)
    if not isinstance(noise, NoiseProcess) or end is None:
        raise TypeError(
            f"the model is a {type(model).__name__}, without a noise process or without an end at "
            "which it is the identity; give ConsistencyModel(score) of numpyro_score.scores"
        )
    if hasattr(model, "whitening"):
        raise ValueError(
            "the model's noise is isotropic in whitened coordinates only; train model.standard on "
            "model.whitening.whiten(draws), or use fit_consistency"
        )
    return noise


def draw_pairs(model: Any, batch: Any, rng_key: RngKey, num_levels: int | Int[Array, ""]) -> Pairs:
    """Noise and neighbouring levels for a batch, each step of the grid equally often.

    Raises
    ------
    TypeError, ValueError
        If the model is not a consistency model, or does not fit the batch.
    """
    noise = check_consistency(model)
    x0, y = split_condition(batch)
    key_level, key_noise = jax.random.split(rng_key)
    index = jnp.floor(spread(key_level, len(x0), x0.dtype) * num_levels)
    upper, lower = (
        noise.time_of(edm_ratios(noise, 1 - i / num_levels, end=model.end)).astype(x0.dtype)
        for i in (index + 1, index)
    )
    condition = () if y is None else (y,)
    check_score(model, x0[0], upper[0], *jax.tree.map(lambda leaf: leaf[0], condition))
    z = jax.random.normal(key_noise, x0.shape, x0.dtype)
    return Pairs(x0, z, upper, lower, condition)


def noised(noise: NoiseProcess, x0: Array, z: Array, t: Array) -> Array:
    """`alpha x_0 + sigma z` of one point."""
    return noise.alpha(t) * x0 + noise.sigma(t) * z


def check_huber(huber: float) -> None:
    """Refuse a scale that is not above 0."""
    check_positive("huber", huber, hint="units are the data's sd; .03 is usual")


def pseudo_huber(difference: Array, huber: float) -> Float[Array, ""]:
    """`sqrt(|d|^2 + c^2) - c` of one difference, with `c = huber sqrt(dim)`."""
    scale = huber * difference.size**0.5
    return jnp.sqrt(jnp.sum(difference**2) + scale**2) - scale


def consistency_error(model: Any, pairs: Pairs, target: Target, huber: float) -> Float[Array, ""]:
    """Mean weighted distance of the consistency function at the upper levels to the lower ones.

    Parameters
    ----------
    model
        The consistency model.
    pairs
        Points and levels.
    target
        `(x0, z, x, upper, lower, *y)` of one point, with `x` at the upper level -> the point at the
        lower level.
    huber
        Scale of the distance.
    """
    noise, moments = model.noise, model.data_moments
    unit = 1.0 if moments is None else jnp.sqrt(jnp.mean(jnp.asarray(moments[1]) ** 2))

    def error(x0: Array, z: Array, upper: Array, lower: Array, *y: Any) -> Array:
        x = noised(noise, x0, z, upper)
        goal = model(target(x0, z, x, upper, lower, *y), lower, *y)
        difference = model(x, upper, *y) - jax.lax.stop_gradient(goal)
        weight = unit / (noise.ratio(upper) - noise.ratio(lower))
        return weight * pseudo_huber(difference / unit, huber)

    return mean_over(error, *pairs[:-1], *pairs.condition)
