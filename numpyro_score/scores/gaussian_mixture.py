"""The exact score of a Gaussian mixture at every noise level.

With noise a Gaussian mixture stays one: component k of weight w, mean m and covariance C becomes

    w_k N(alpha m_k, alpha^2 C_k + sigma^2 I),

whose score is the responsibility-weighted mean of `-(alpha^2 C_k + sigma^2 I)^-1 (x - alpha m_k)`.
Covariances are stored as eigenvalues and axes, so that no noise level needs a factorisation. With
`C = 0` it is the distribution of noised data points, a kernel density estimate with a Gaussian
kernel.

The score of a kernel density estimate is what denoising score matching learns (Vincent 2011,
doi:10.1162/NECO_a_00142).
"""

import math
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import Condition, Constant, Event, ScoreModel, refuse_condition
from numpyro_score.types import RngKey, Scalar


class _Terms(NamedTuple):
    """Per component: log of weight times density, and `C^-1 (x - mean)` in the event's axes."""

    log_terms: Float[Array, " components"]
    whitened: Float[Array, "components dim"]


@final
class GaussianMixtureScore(ScoreModel):
    """Exact score and log density of a Gaussian mixture under a noise process.

    Parameters
    ----------
    weights
        `(components,)`, positive; they are normalised to sum to 1.
    means
        `(components, *event)`.
    covariances
        Variances, not sds: one number, `(components,)` isotropic, `(components, dim)` diagonal or
        `(components, dim, dim)` full, with `dim` the size of a point. 0 for point masses.
    noise
        The process.

    Raises
    ------
    ValueError
        Shapes do not match, weights are not positive, or a covariance is not symmetric with
        eigenvalues of at least 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.1, sigma_max=10.0)
    >>> model = GaussianMixtureScore([0.5, 0.5], [[-3.0], [3.0]], 1.0, noise)
    >>> x = jnp.zeros(1)
    >>> round(float(model.log_prob(x, 0.5)), 4), float(abs(model(x, 0.5)[0]))
    (-3.5155, 0.0)
    """

    noise: NoiseProcess
    log_weights: Constant
    means: Constant
    variances: Constant
    axes: Constant | None

    def __init__(
        self, weights: ArrayLike | list[float], means: Any, covariances: Any, noise: NoiseProcess
    ):
        w, m, c = (np.asarray(a, np.float64) for a in (weights, means, covariances))
        if w.ndim != 1 or w.size == 0 or m.ndim < 2 or len(m) != len(w):
            raise ValueError(
                f"weights have shape {w.shape} and means {m.shape}; (components,) and "
                "(components, *event) are needed"
            )
        if not ((w > 0) & np.isfinite(w)).all():
            raise ValueError(f"weights are {w} but must all be above 0")
        variances, axes = _factor(c, len(m), math.prod(m.shape[1:]))
        dtype = jnp.result_type(float)
        self.noise = noise
        self.log_weights = Constant(jnp.asarray(np.log(w / w.sum()), dtype))
        self.means = Constant(jnp.asarray(m, dtype))
        self.variances = Constant(jnp.asarray(variances, dtype))
        self.axes = None if axes is None else Constant(jnp.asarray(axes, dtype))

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` and time `t`."""
        refuse_condition(self, y)
        terms = self._terms(x, t)
        return -(jax.nn.softmax(terms.log_terms) @ terms.whitened).reshape(x.shape)

    def log_prob(self, x: Event, t: Scalar) -> Float[Array, ""]:
        """Normalised log density of the noised distribution at one point."""
        return jax.nn.logsumexp(self._terms(x, t).log_terms)

    def component_log_probs(self, x: Event, t: Scalar) -> Float[Array, " components"]:
        """Log weight plus log density of each noised component; softmax gives the posterior."""
        return self._terms(x, t).log_terms

    def sample(self, rng_key: RngKey, num_samples: int) -> Float[Array, "{num_samples} ..."]:
        """Exact independent draws of the data `x_0`, shape `(num_samples, *event)`."""
        key_component, key_noise = jax.random.split(rng_key)
        means = self.means.array
        which = jax.random.categorical(key_component, self.log_weights.array, shape=(num_samples,))
        flat = means.reshape(len(means), -1)
        z = jax.random.normal(key_noise, (num_samples, flat.shape[1]), means.dtype)
        z = z * jnp.sqrt(self.variances.array)[which]
        if self.axes is not None:
            z = jnp.einsum("nij,nj->ni", self.axes.array[which], z)
        return (flat[which] + z).reshape(num_samples, *means.shape[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.means.array.shape[1:]

    @property
    @eqx.filter_jit
    def data_moments(self) -> tuple[Event, Event]:
        """Mean and sd of each coordinate of the mixture."""
        weights, means = jnp.exp(self.log_weights.array), self.means.array
        variances = self.variances.array
        if self.axes is not None:
            variances = jnp.einsum("kij,kj->ki", self.axes.array**2, variances)
        flat = means.reshape(len(means), -1)
        mean = weights @ flat
        variance = weights @ (variances + (flat - mean[None]) ** 2)
        return mean.reshape(self.shape), jnp.sqrt(variance).reshape(self.shape)

    def _terms(self, x: Event, t: Scalar) -> _Terms:
        means, axes = self.means.like(x), None if self.axes is None else self.axes.like(x)
        if x.shape != means.shape[1:]:
            raise ValueError(f"the point has shape {x.shape} but the mixture {means.shape[1:]}")
        alpha, noise = self.noise.alpha(t), self.noise.variance(t)
        gap = (x[None] - alpha * means).reshape(len(means), -1)
        total = alpha**2 * self.variances.like(x) + noise
        if axes is not None:
            gap = jnp.einsum("kij,ki->kj", axes, gap)
        whitened = gap / total
        log_det = jnp.sum(jnp.log(2 * jnp.pi * total) + jnp.zeros_like(gap), axis=1)
        log_terms = self.log_weights.like(x) - 0.5 * (jnp.sum(gap * whitened, axis=1) + log_det)
        if axes is not None:
            whitened = jnp.einsum("kij,kj->ki", axes, whitened)
        return _Terms(log_terms.astype(x.dtype), whitened.astype(x.dtype))


def _factor(
    covariances: np.ndarray, num_components: int, dim: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Eigenvalues `(components, dim or 1)`, and axes `(components, dim, dim)` or None."""
    axes = None
    if covariances.ndim == 0:
        variances = np.full((num_components, 1), covariances)
    elif covariances.shape == (num_components,):
        variances = covariances[:, None]
    elif covariances.shape == (num_components, dim):
        variances = covariances
    elif covariances.shape == (num_components, dim, dim):
        if not np.allclose(covariances, covariances.swapaxes(1, 2)):
            raise ValueError("a covariance matrix is not symmetric")
        variances, axes = np.linalg.eigh(covariances)
        # rounding gives tiny negative eigenvalues if a covariance is rank deficient
        variances = np.where(abs(variances) < 1e-12 * variances.max(), 0.0, variances)
    else:
        raise ValueError(
            f"covariances have shape {covariances.shape}; for {num_components} components in "
            f"{dim} dimensions give one number, ({num_components},), ({num_components}, {dim}) or "
            f"({num_components}, {dim}, {dim})"
        )
    if not ((variances >= 0) & np.isfinite(variances)).all():
        raise ValueError(
            f"a covariance has the eigenvalue {variances.min():g}; 0 or more is needed"
        )
    return variances, axes
