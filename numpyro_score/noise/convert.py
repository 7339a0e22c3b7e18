"""Conversions between four equivalent predictions: score, denoised point, noise, velocity.

For `x = alpha x_0 + sigma z` a model may predict the mean given x of `x_0`, of `z` or of the
velocity `v = alpha z - sigma x_0`, or the gradient of the log density of x. By Tweedie's formula
each of them determines the others:

    E[x_0 | x] = (x + sigma^2 score) / alpha,    E[z | x] = -sigma score

(Robbins 1956; Efron 2011, doi:10.1198/jasa.2011.tm11181; the velocity: Salimans and Ho 2022,
arXiv:2202.00512). All functions are elementwise: `alpha` and `sigma` are scalars, or arrays like
`x` where the noise differs between coordinates. At `sigma = 0` the noise cannot be inferred from
`x`, and only `score_to_*` are defined.
"""

from typing import Any

from jaxtyping import Array, Float

Event = Float[Array, "..."]
Size = Any
"""A number or an array that broadcasts to the event's shape."""


def score_to_denoised(x: Event, alpha: Size, sigma: Size, score: Event) -> Event:
    """`E[x_0 | x]` from the score.

    Parameters
    ----------
    x
        One noised point, any shape.
    alpha, sigma
        Signal and noise: numbers, or arrays that broadcast to `x`.
    score
        Gradient of the log density of `x`, like `x`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x = jnp.array([2.0])  # of N(0, 1) data with noise of sd 1: the score is -x / 2
    >>> score_to_denoised(x, 1.0, 1.0, -x / 2).tolist()
    [1.0]
    """
    return (x + sigma**2 * score) / alpha


def denoised_to_score(x: Event, alpha: Size, sigma: Size, denoised: Event) -> Event:
    """The score from `E[x_0 | x]`; precision is lost where `sigma` is small relative to `x`.

    Parameters
    ----------
    x
        One noised point, any shape.
    alpha, sigma
        Signal and noise: numbers, or arrays that broadcast to `x`.
    denoised
        `E[x_0 | x]`, like `x`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x = jnp.array([2.0])  # of N(0, 1) data with noise of sd 1: E[x_0 | x] is x / 2
    >>> denoised_to_score(x, 1.0, 1.0, x / 2).tolist()
    [-1.0]
    """
    return (alpha * denoised - x) / sigma**2


def score_to_noise(x: Event, alpha: Size, sigma: Size, score: Event) -> Event:
    """`E[z | x]` from the score.

    Parameters
    ----------
    x
        One noised point, any shape.
    alpha, sigma
        Signal and noise: numbers, or arrays that broadcast to `x`.
    score
        Gradient of the log density of `x`, like `x`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> score_to_noise(jnp.array([2.0]), 1.0, 0.5, jnp.array([-1.0])).tolist()
    [0.5]
    """
    return -sigma * score


def noise_to_score(x: Event, alpha: Size, sigma: Size, noise: Event) -> Event:
    """The score from `E[z | x]`.

    Parameters
    ----------
    x
        One noised point, any shape.
    alpha, sigma
        Signal and noise: numbers, or arrays that broadcast to `x`.
    noise
        `E[z | x]`, like `x`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> noise_to_score(jnp.array([2.0]), 1.0, 0.5, jnp.array([0.5])).tolist()
    [-1.0]
    """
    return -noise / sigma


def score_to_velocity(x: Event, alpha: Size, sigma: Size, score: Event) -> Event:
    """`E[alpha z - sigma x_0 | x]` from the score.

    Parameters
    ----------
    x
        One noised point, any shape.
    alpha, sigma
        Signal and noise: numbers, or arrays that broadcast to `x`.
    score
        Gradient of the log density of `x`, like `x`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x = jnp.array([2.0])  # of N(0, 1) data, whose variance stays 1
    >>> abs(score_to_velocity(x, 0.6, 0.8, -x)).tolist()
    [0.0]
    """
    return -sigma / alpha * (x + (alpha**2 + sigma**2) * score)


def velocity_to_score(x: Event, alpha: Size, sigma: Size, velocity: Event) -> Event:
    """The score from `E[alpha z - sigma x_0 | x]`.

    Parameters
    ----------
    x
        One noised point, any shape.
    alpha, sigma
        Signal and noise: numbers, or arrays that broadcast to `x`.
    velocity
        `E[alpha z - sigma x_0 | x]`, like `x`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> velocity_to_score(jnp.array([2.0]), 0.6, 0.8, jnp.array([0.0])).tolist()
    [-2.0]
    """
    return -(x + alpha / sigma * velocity) / (alpha**2 + sigma**2)
