"""Gaussian mixtures with separated modes of known weights.

`p(x) = sum_k w_k N(x; m_k, s_k^2 I)`. The weight of a mode is estimated from draws as the mean of
its responsibility `r_k(x) = w_k N(x; m_k, s_k^2 I) / p(x)`, the probability that `x` came from
component `k`. Its expectation is exactly `w_k`, whether the components overlap or not; if they do
not, the mean is the share of draws in the mode.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.targets.base import DensityTarget
from numpyro_score.targets.expectation import Draws, Expectation, moments
from numpyro_score.types import RngKey

Weights = Float[np.ndarray, " modes"]
Means = Float[np.ndarray, "modes dim"]
Sds = Float[np.ndarray, " modes"]


def _log_terms(x: Any, weights: Weights, means: Means, sds: Sds) -> Any:
    """`log(w_k N(x; m_k, s_k^2 I))` up to one constant, `(..., dim)` -> `(..., modes)`."""
    xp = x.__array_namespace__()
    lead = (1,) * (x.ndim - 1)
    centre = xp.asarray(means, dtype=x.dtype).reshape((*lead, *means.shape))
    scale = xp.asarray(sds, dtype=x.dtype).reshape((*lead, *sds.shape))
    log_height = np.log(weights) - means.shape[-1] * np.log(sds)
    height = xp.asarray(log_height, dtype=x.dtype).reshape((*lead, *sds.shape))
    return height - 0.5 * xp.sum((x[..., None, :] - centre) ** 2, axis=-1) / scale**2


def _logdensity(
    x: Float[Array, " dim"], weights: Weights, means: Means, sds: Sds
) -> Float[Array, ""]:
    return jax.nn.logsumexp(_log_terms(x, weights, means, sds))


def _draw(rng_key: RngKey, weights: Weights, means: Means, sds: Sds) -> Float[Array, " dim"]:
    key_mode, key_noise = jax.random.split(rng_key)
    mode = jax.random.categorical(key_mode, jnp.asarray(np.log(weights)))
    noise = jax.random.normal(key_noise, means.shape[1:])
    return jnp.asarray(means)[mode] + jnp.asarray(sds)[mode] * noise


def responsibilities(draws: Draws, weights: Weights, means: Means, sds: Sds) -> Any:
    """Draws `{"x": (..., dim)}` -> responsibilities `(..., modes)`, which sum to 1."""
    log_terms = _log_terms(draws["x"], weights, means, sds)
    xp = log_terms.__array_namespace__()
    terms = xp.exp(log_terms - xp.max(log_terms, axis=-1, keepdims=True))
    return terms / xp.sum(terms, axis=-1, keepdims=True)


def responsibility_sd(
    weights: Weights, centres: Float[np.ndarray, " modes"], sds: Sds
) -> Float[np.ndarray, " modes"]:
    """Sd of the responsibilities, by the trapezoid rule on the line through the means.

    In more than one dimension all sds must be equal, so that the responsibilities depend only on
    the position along that line.
    """
    low, high = (centres - 12 * sds).min(), (centres + 12 * sds).max()
    x = np.linspace(low, high, 20_001)
    r = responsibilities({"x": x[:, None]}, weights, centres[:, None], sds)
    density = np.exp(-0.5 * ((x[:, None] - centres) / sds) ** 2) / sds @ weights
    second = density @ r**2 / density.sum()
    return np.sqrt(second - weights**2)


def gaussian_mixture(
    name: str,
    description: str,
    weights: Weights,
    means: Means,
    sds: Sds,
    weight_sd: Float[np.ndarray, " modes"],
) -> DensityTarget:
    """A mixture target; `weight_sd` is the sd of the responsibilities under it."""
    m, s2 = means, sds[:, None] ** 2
    second = weights @ (m**2 + s2)
    fourth = weights @ (m**4 + 6 * m**2 * s2 + 3 * s2**2)
    mode_weight = Expectation(
        name="mode_weight",
        variable="x",
        fn=partial(responsibilities, weights=weights, means=means, sds=sds),
        truth=weights,
        sd=weight_sd,
    )
    return DensityTarget(
        name=name,
        description=description,
        dim=means.shape[1],
        logdensity_fn=partial(_logdensity, weights=weights, means=means, sds=sds),
        expectations=(*moments("x", weights @ m, second, fourth), mode_weight),
        draw_fn=partial(_draw, weights=weights, means=means, sds=sds),
        log_evidence=means.shape[1] / 2 * np.log(2 * np.pi),
    )


def two_modes() -> DensityTarget:
    """`.2 N((-5,-5), I) + .8 N((5,5), I)`: two modes 14 sds apart, too far for local kernels.

    The mixture of Song and Ermon, Generative modeling by estimating gradients of the data
    distribution (NeurIPS 2019), section 3.2, with their weights.

    Examples
    --------
    >>> import numpy as np
    >>> mode_weight = two_modes().expectations[2]
    >>> share = mode_weight.fn({"x": np.array([[-5.0, -4.0], [4.0, 6.0]])})  # two draws
    >>> [[round(float(s), 3) for s in draw] for draw in share], mode_weight.truth.tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [0.2, 0.8])
    """
    means = np.array([[-5.0, -5.0], [5.0, 5.0]])
    return gaussian_mixture(
        name="two_modes",
        description=".2 N((-5,-5), I) + .8 N((5,5), I), variance 1",
        weights=np.array([0.2, 0.8]),
        means=means,
        sds=np.ones(2),
        weight_sd=responsibility_sd(
            np.array([0.2, 0.8]), means.sum(axis=1) / np.sqrt(2), np.ones(2)
        ),
    )


def mixture_1d() -> DensityTarget:
    """The density `3 exp(-(x+2)^2/2) + exp(-(x-4)^2/8)`: `.6 N(-2, 1) + .4 N(4, 2^2)` (sds).

    The components' masses are `3 sqrt(2 pi)` and `2 sqrt(2 pi)`, hence the weights. The density
    between the modes is low, but chains cross it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> logdensity_fn = mixture_1d().logdensity_fn
    >>> ratio = jnp.exp(logdensity_fn(jnp.array([-2.0])) - logdensity_fn(jnp.array([4.0])))
    >>> round(float(ratio), 3)  # 3 + exp(-36/8) over 3 exp(-36/2) + 1
    3.011
    """
    centres, sds = np.array([-2.0, 4.0]), np.array([1.0, 2.0])
    return gaussian_mixture(
        name="mixture_1d",
        description="density 3 exp(-(x+2)^2/2) + exp(-(x-4)^2/8): .6 N(-2, sd 1) + .4 N(4, sd 2)",
        weights=np.array([0.6, 0.4]),
        means=centres[:, None],
        sds=sds,
        weight_sd=responsibility_sd(np.array([0.6, 0.4]), centres, sds),
    )
