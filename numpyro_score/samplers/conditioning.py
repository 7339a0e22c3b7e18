"""Scores of a posterior, from the score of its prior: a learned prior meets a likelihood.

At time t the posterior's score is the prior's plus the gradient of `log p(y | x_t)`. That is an
average of the likelihood over `x_0` given `x_t`, which a score does not give. Two stand-ins:

* the likelihood at the denoised point, `log p(y | E[x_0 | x_t])` (DPS, Chung et al. 2023,
  arXiv:2209.14687), for any likelihood. It forgets the spread of `x_0` about the denoised point: it
  is too sure at high noise, where modes get their weights, and right as noise goes to 0;
* for a linear Gaussian likelihood `y = A x_0 + noise of covariance R`, with a Gaussian for `x_0`
  given `x_t` of covariance `C_t`,

      log p(y | x_t) = log N(y; A E[x_0 | x_t], A C_t A^T + R),

  exact for a Gaussian prior. `C_t` from the data's sd v is `(v sigma)^2 / ((alpha v)^2 + sigma^2)`
  (as in Pi-GDM, Song et al. 2023, openreview 9_gsMA8MRKQ), or, from Tweedie's second moment, it is
  `sigma^2 / alpha` times the derivative of the denoised point (Boys et al. 2023, arXiv:2310.06721).

Neither is exact for a mixture: draws are approximate, also with an exact prior and many steps. On
two modes in the plane with one or two coordinates observed (`docs/samplers.md`), DPS has mode
weights off by up to .09 and sds a fifth to a third too small; with the spread by Tweedie weights
are off by up to .03 and sds by 3%; with that of a Gaussian by .06 and 7%.
"""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.steps import Event, Score
from numpyro_score.types import Scalar

Spread = Callable[["GaussianPosteriorScore", Event, Scalar], Float[Array, "dim dim"]]
"""A rule `(score, x, t)` -> covariance of `x_0` given `x_t = x`, points flattened."""


class Conditioned(eqx.Module):
    """The interface of a score that is made from a prior's.

    Attributes
    ----------
    prior
        `score(x, t)` of one point.
    noise
        The process of both.
    """

    prior: eqx.AbstractVar[Score]
    noise: eqx.AbstractVar[NoiseProcess]

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one point, where the prior knows it."""
        return getattr(self.prior, "shape", None)

    @property
    def data_moments(self) -> Any:
        """Those of the prior: at t = 1 the data are covered by noise."""
        return getattr(self.prior, "data_moments", None)

    def denoise_prior(self, x: Event, t: Scalar) -> Event:
        """`E[x_0 | x_t = x]` under the prior."""
        return self.noise.denoised(x, t, self.prior(x, t))


def _process(prior: Score, noise: NoiseProcess | None) -> NoiseProcess:
    noise = getattr(prior, "noise", None) if noise is None else noise
    if not isinstance(noise, NoiseProcess):
        raise TypeError(
            f"the prior, a {type(prior).__name__}, does not say what its noise process is; give "
            "noise=, such as VP()"
        )
    return noise


@final
class PosteriorScore(Conditioned):
    """A prior's score plus the gradient of a log likelihood at the denoised point; approximate.

    Parameters
    ----------
    prior
        `score(x, t)`.
    log_likelihood
        Point `x_0` -> scalar, up to a constant.
    noise
        The process; by default the prior's own.

    Raises
    ------
    TypeError
        If the process is not known.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VP
    >>> from numpyro_score.samplers import reverse_sde
    >>> from numpyro_score.scores import gaussian_score
    >>> prior = gaussian_score([0.0], 1.0, VP())
    >>> posterior = PosteriorScore(prior, lambda x: -jnp.sum((x - 2.0) ** 2) / 2)
    >>> sampler = reverse_sde(posterior, VP(), (1,), num_steps=20)
    >>> 1.0 < sampler.sample(jax.random.key(0), 2000).mean() < 1.3  # 1 is right: it is too sure
    np.True_
    """

    prior: Score
    log_likelihood: Callable[[Event], Any]
    noise: NoiseProcess

    def __init__(
        self,
        prior: Score,
        log_likelihood: Callable[[Event], Any],
        noise: NoiseProcess | None = None,
    ):
        self.prior = prior
        self.log_likelihood = log_likelihood
        self.noise = _process(prior, noise)

    def __call__(self, x: Event, t: Scalar) -> Event:
        """The score at one point `x` and time `t`."""

        def of_noised(x: Event) -> tuple[Array, Event]:
            score = self.prior(x, t)
            return self.log_likelihood(self.noise.denoised(x, t, score)), score

        gradient, score = jax.grad(of_noised, has_aux=True)(x)
        return score + gradient


def spread_of_gaussian(score: "GaussianPosteriorScore", x: Event, t: Scalar) -> Array:
    """As if the data were Gaussian with their sds: `(v sigma)^2 / ((alpha v)^2 + sigma^2)`.

    Parameters
    ----------
    score
        The posterior's score, whose prior and process are read.
    x, t
        One noised point and its time.

    Returns
    -------
    `(dim, dim)`, of the flattened point.

    Raises
    ------
    ValueError
        If the prior does not know its sds.

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
    """The covariance itself: `sigma^2 / alpha` times the derivative of the denoised point.

    Parameters
    ----------
    score
        The posterior's score, whose prior and process are read.
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
    # a learned denoiser's derivative may have negative eigenvalues at large noise: no variance has
    values, vectors = jnp.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors * jnp.maximum(values, 0.0)) @ vectors.T


@final
class GaussianPosteriorScore(Conditioned):
    """A prior's score with `y = A x_0 + noise` observed, spread of `x_0` included; approximate.

    Exact for a Gaussian prior. The derivative of the spread itself is left out.

    Parameters
    ----------
    prior
        `score(x, t)`.
    operator
        A, `(num, dim)`, of flattened points.
    observed
        y, `(num,)`.
    variance
        R: one variance, `(num,)` of them, or a covariance `(num, num)`.
    noise
        The process; by default the prior's own.
    spread
        `spread_by_tweedie`, as many derivatives of the score as there are dimensions, or
        `spread_of_gaussian`, which has none and fits data that are one lump.

    Raises
    ------
    ValueError
        If shapes do not match, or a variance is not above 0.
    TypeError
        If the process is not known.

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
            raise ValueError("variance must be above 0, or a positive definite covariance")
        dtype = jnp.result_type(float)
        self.prior = prior
        self.operator, self.observed, self.covariance = (jnp.asarray(v, dtype) for v in (a, y, r))
        self.noise = _process(prior, noise)
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


@final
class GuidedScore(Conditioned):
    """Classifier-free guidance: `(1 + w) s(x, t, y) - w s(x, t)`, more of y than there is.

    Ho and Salimans 2022, arXiv:2207.12598. At `w = 0` it is the score given y. Above, it is no
    noised law's score, and sharpens what y says.

    Parameters
    ----------
    prior
        A conditional score model, `model(x, t, y)`, trained with and without conditions.
    y
        The condition.
    weight
        w, at least -1, where y is forgotten.
    noise
        The process; by default the model's own.

    Raises
    ------
    ValueError
        If the weight is below -1.
    TypeError
        If the process is not known.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VP
    >>> from numpyro_score.scores import FunctionScore
    >>> model = FunctionScore(lambda x, t, y=None: -x if y is None else y - x, VP())
    >>> GuidedScore(model, jnp.ones(1), weight=0.5)(jnp.zeros(1), 0.5).tolist()
    [1.5]
    """

    prior: Any
    y: Float[Array, " condition"]
    weight: float = eqx.field(static=True)
    noise: NoiseProcess

    def __init__(
        self,
        prior: Any,
        y: Any,
        weight: float = 0.0,
        noise: NoiseProcess | None = None,
    ):
        if not -1 <= weight < float("inf"):
            raise ValueError(f"weight is {weight:g} but must be at least -1; 0 does not guide")
        self.prior = prior
        self.y = jnp.asarray(y, jnp.result_type(float))
        self.weight = float(weight)
        self.noise = _process(prior, noise)

    def __call__(self, x: Event, t: Scalar) -> Event:
        """The score at one point `x` and time `t`."""
        given = self.prior(x, t, self.y)
        if self.weight == 0:
            return given
        return (1 + self.weight) * given - self.weight * self.prior(x, t, None)
