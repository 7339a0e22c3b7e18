"""Scores of posteriors under linear Gaussian likelihoods, from the score of the prior.

For `y = A x_0 + noise of covariance R`, with a Gaussian of covariance `C_t` for `x_0` given `x_t`,

    log p(y | x_t) = log N(y; A E[x_0 | x_t], A C_t A^T + R),

exact for a Gaussian prior. From the sd v of the data, `C_t` is `(v sigma)^2 / ((alpha v)^2 +
sigma^2)` (as in Pi-GDM, Song et al. 2023, openreview 9_gsMA8MRKQ); by Tweedie's formula for second
moments it is `sigma^2 / alpha` times the Jacobian of the denoised point (Boys et al. 2023,
arXiv:2310.06721).

It is not exact for a mixture. On two modes in the plane with one or two coordinates observed
(`docs/samplers.md`), errors with Tweedie's formula are up to .03 in mode weights and 3% in sds;
with the spread of a Gaussian they are up to .06 and 7%.
"""

from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.conditioning import Conditioned, process_of
from numpyro_score.samplers.steps import Event, Score
from numpyro_score.types import Scalar

Spread = Callable[["GaussianPosteriorScore", Event, Scalar], Float[Array, "dim dim"]]
"""A rule `(score, x, t)` -> covariance of `x_0` given `x_t = x`, points flattened."""


def spread_of_gaussian(score: "GaussianPosteriorScore", x: Event, t: Scalar) -> Array:
    """Covariance for independent Gaussian coordinates: `(v sigma)^2 / ((alpha v)^2 + sigma^2)`.

    Parameters
    ----------
    score
        The posterior's score, whose prior and noise process are used.
    x, t
        One noised point and its time.

    Returns
    -------
    `(dim, dim)`, of the flattened point.

    Raises
    ------
    ValueError
        The prior does not know the sds of its data.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import gaussian_score
    >>> prior = gaussian_score(jnp.zeros(1), jnp.ones(1), VE(sigma_min=0.1, sigma_max=10.0))
    >>> score = GaussianPosteriorScore(prior, jnp.eye(1), jnp.ones(1), 1.0)
    >>> spread_of_gaussian(score, jnp.zeros(1), 0.5).round(
    ...     3
    ... ).tolist()  # noise of sd 1 on data of sd 1
    [[0.5]]
    """
    if score.data_moments is None:
        raise ValueError(
            "the prior does not know the sd of its data; use spread_by_tweedie, or a prior with "
            "data_moments"
        )
    noise = score.noise
    signal, sigma2 = noise.alpha(t) ** 2, noise.variance(t)
    v2 = jnp.broadcast_to(score.data_moments[1] ** 2, x.shape).reshape(-1)
    return jnp.diag(v2 * sigma2 / (signal * v2 + sigma2))


def spread_by_tweedie(score: "GaussianPosteriorScore", x: Event, t: Scalar) -> Array:
    """Covariance by Tweedie's formula: `sigma^2 / alpha` times the Jacobian of the denoised point.

    Parameters
    ----------
    score
        The posterior's score, whose prior and noise process are used.
    x, t
        One noised point and its time.

    Returns
    -------
    `(dim, dim)`, of the flattened point.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import gaussian_score
    >>> prior = gaussian_score(jnp.zeros(1), jnp.ones(1), VE(sigma_min=0.1, sigma_max=10.0))
    >>> score = GaussianPosteriorScore(prior, jnp.eye(1), jnp.ones(1), 1.0)
    >>> spread_by_tweedie(score, jnp.zeros(1), 0.5).round(
    ...     3
    ... ).tolist()  # noise of sd 1 on data of sd 1
    [[0.5]]
    """
    flat = x.reshape(-1)

    def denoise(flat: Array) -> Array:
        return score.denoise_prior(flat.reshape(x.shape), t).reshape(-1)

    noise = score.noise
    covariance = noise.variance(t) / noise.alpha(t) * jax.jacfwd(denoise)(flat)
    # the Jacobian of a learned denoiser may have negative eigenvalues, which no covariance has
    values, vectors = jnp.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors * jnp.maximum(values, 0.0)) @ vectors.T


@final
class GaussianPosteriorScore(Conditioned):
    """A prior's score plus that of `y = A x_0 + noise`, with the spread of `x_0`; approximate.

    Exact for a Gaussian prior. The gradient of the spread itself is neglected.

    Parameters
    ----------
    prior
        `score(x, t)`.
    operator
        A, `(num, dim)`, applied to flattened points.
    observed
        y, `(num,)`.
    variance
        R: one variance, variances `(num,)`, or a covariance `(num, num)`.
    noise
        The process; by default the prior's own.
    spread
        `spread_by_tweedie`, which needs as many derivatives of the score as there are dimensions,
        or `spread_of_gaussian`, which needs none and suits unimodal data.

    Raises
    ------
    ValueError
        Shapes do not match, or a variance is not above 0.
    TypeError
        The noise process is not known.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import VP
    >>> from numpyro_score.samplers import reverse_sde
    >>> from numpyro_score.scores import gaussian_score
    >>> prior = gaussian_score([0.0, 0.0], 1.0, VP())
    >>> posterior = GaussianPosteriorScore(prior, [[1.0, 0.0]], [2.0], 1.0)
    >>> draws = reverse_sde(posterior, VP(), (2,)).sample(jax.random.key(0), 2000)
    >>> draws.mean(axis=0).round().tolist(), round(float(draws[:, 0].var()), 1)
    ([1.0, 0.0], 0.5)
    """

    prior: Score
    operator: Float[Array, "num dim"]
    observed: Float[Array, " num"]
    covariance: Float[Array, "num num"]
    noise: NoiseProcess
    spread: Spread

    def __init__(
        self,
        prior: Score,
        operator: Any,
        observed: Any,
        variance: Any,
        noise: NoiseProcess | None = None,
        *,
        spread: Spread = spread_by_tweedie,
    ):
        a, y, r = (np.asarray(value, np.float64) for value in (operator, observed, variance))
        if a.ndim != 2 or y.shape != a.shape[:1] or r.shape not in ((), y.shape, 2 * y.shape):
            raise ValueError(
                f"operator has shape {a.shape}, observed {y.shape} and variance {r.shape}; "
                "(num, dim), (num,) and one number, (num,) or (num, num) are needed"
            )
        r = r if r.ndim == 2 else np.diag(np.broadcast_to(r, y.shape))
        if not (np.isfinite(r).all() and (np.linalg.eigvalsh(r) > 0).all()):
            raise ValueError("variance must be above 0, or a positive definite covariance matrix")
        dtype = jnp.result_type(float)
        self.prior = prior
        self.operator, self.observed, self.covariance = (jnp.asarray(v, dtype) for v in (a, y, r))
        self.noise = process_of(prior, noise)
        self.spread = spread

    def __call__(self, x: Event, t: Scalar) -> Event:
        """The score at one point `x` and time `t`."""
        if x.size != self.operator.shape[1]:
            raise ValueError(
                f"the point has {x.size} numbers but the operator {self.operator.shape[1]} columns"
            )
        a = self.operator.astype(x.dtype)

        def of_noised(x: Event) -> tuple[Event, Event]:
            score = self.prior(x, t)
            return self.noise.denoised(x, t, score).reshape(-1), score

        denoised, pull, score = jax.vjp(of_noised, x, has_aux=True)
        total = a @ self.spread(self, x, t) @ a.T + self.covariance
        residual = self.observed.astype(x.dtype) - a @ denoised
        weighted = jax.scipy.linalg.solve(total, residual, assume_a="pos")
        (gradient,) = pull((a.T @ weighted).astype(x.dtype))
        return (score + gradient).astype(x.dtype)
