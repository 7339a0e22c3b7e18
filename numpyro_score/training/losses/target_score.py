"""Target score matching, mixed with denoising: regression on the gradients that draws come with.

For `x_t = alpha x_0 + sigma z` with `x_0 ~ p` both targets

    -z / sigma    and    g(x_0) / alpha,    g = grad log p,

have the score of `x_t` as their mean given `x_t` (the second: De Bortoli et al. 2024,
arXiv:2402.08667, target score matching). The variance of the first grows as `1 / sigma^2` for small
noise, that of the second as `1 / alpha^2` for large. Every mixture of constant coefficients

    C g(x_0) / alpha - (I - C) z / sigma

has the same mean. Here

    C = alpha^2 V (alpha^2 V + sigma^2 I)^-1,    V = (E[g g^T])^-1.

For a Gaussian p, V is its covariance, and the target is the score itself: its variance is 0 at
every noise level. For a mixture V is about the covariance within a component. The loss that is
left at the end of a training is then the network's own error, so that it can be read as progress.
"""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.training.losses.base import Batch, check_score
from numpyro_score.training.losses.denoising import noise_error, process_of, split_condition
from numpyro_score.training.losses.levels import Levels, LogUniform, Weight, sigma_squared, spread
from numpyro_score.types import RngKey

RIDGE = 1e-6
"""Share of each coordinate's variance that is added to it before a covariance is inverted."""


def within_mode_covariance(
    draws: Float[np.ndarray | Array, "num *event"],
    gradients: Float[np.ndarray | Array, "num *event"],
) -> Float[np.ndarray, "dim dim"]:
    """`V = (E[g g^T])^-1`, its eigenvalues limited to 1 in units of the draws' covariance.

    On a Gaussian it is the covariance. For separated modes it is about the covariance within one;
    the limit matters along directions in which gradients nearly vanish.

    Parameters
    ----------
    draws
        `(num, *event)`, points of more than one axis are flattened to `dim` coordinates.
    gradients
        Of the log density at the draws, like them.

    Returns
    -------
    The covariance `(dim, dim)`, in float64, units of the draws squared.

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than two draws, values are not finite, or a coordinate
        is constant.

    Examples
    --------
    >>> import numpy as np
    >>> draws = 3.0 * np.random.default_rng(0).normal(size=(10_000, 1))
    >>> within_mode_covariance(draws, -draws / 9.0).round().tolist()
    [[9.0]]
    """
    x, g = (np.asarray(values, np.float64) for values in (draws, gradients))
    if x.shape != g.shape or x.ndim < 2 or len(x) < 2:
        raise ValueError(
            f"draws have shape {x.shape} and gradients {g.shape}; both need the same shape "
            "(num, *event), with at least two draws"
        )
    x, g = (values.reshape(len(values), -1) for values in (x, g))
    for name, values in (("draws", x), ("gradients", g)):
        num_bad = int(np.sum(~np.isfinite(values).all(axis=1)))
        if num_bad:
            raise ValueError(f"{num_bad} of {len(values)} {name} are not finite; leave them out")
    covariance = np.atleast_2d(np.cov(x, rowvar=False))
    variance = np.diagonal(covariance)
    if not (variance > 0).all():
        constant = np.flatnonzero(~(variance > 0)).tolist()
        raise ValueError(f"the draws do not differ in coordinates {constant}; leave those out")
    factor = np.linalg.cholesky(covariance + RIDGE * np.diag(variance))
    whitened = g @ factor
    information, directions = np.linalg.eigh(whitened.T @ whitened / len(g))
    axes = factor @ directions
    return (axes / np.maximum(information, 1.0)) @ axes.T


@final
class TargetScoreMatching(eqx.Module):
    """Target score matching mixed with denoising, for draws whose gradients are known.

    The minimiser is that of `ContinuousDenoising`, with less variance of the target at small
    noise. It is so for draws of the density that the gradients belong to; where draws only
    approximate it, the minimiser lies between the two densities.

    Parameters
    ----------
    covariance
        V, positive definite `(dim, dim)`, or a vector of variances `(dim,)`; in units of the data
        squared, from `within_mode_covariance`. Any V leaves the minimiser as it is.
    logdensity_fn
        Log density of one point, up to a constant: batches are then points alone. Without it
        batches are pairs of points and of the gradients of their log densities.
    noise
        The process; by default the model's own `noise`.
    levels, weight
        As of `ContinuousDenoising`.

    Raises
    ------
    ValueError
        If the covariance is not positive definite; when called, if gradients are missing or given
        twice, shapes do not match, or there is no process.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> noise = VE(0.1, 10.0)
    >>> draws = jax.random.normal(jax.random.key(0), (8, 2))
    >>> loss = TargetScoreMatching(jnp.ones(2), noise=noise)
    >>> score = lambda x, t: -x / (1 + noise.variance(t))  # the truth: no error is left
    >>> round(float(loss(score, (draws, -draws), jax.random.key(1))), 6)
    0.0
    """

    variances: Float[Array, " dim"]
    directions: Float[Array, "dim dim"]
    logdensity_fn: Callable[[Any], Any] | None
    noise: NoiseProcess | None
    levels: Levels
    weight: Weight

    def __init__(
        self,
        covariance: Any,
        logdensity_fn: Callable[[Any], Any] | None = None,
        noise: NoiseProcess | None = None,
        levels: Levels = LogUniform(),  # noqa: B008
        weight: Weight = sigma_squared,
    ) -> None:
        matrix = np.asarray(covariance, np.float64)
        matrix = np.diag(matrix) if matrix.ndim == 1 else matrix
        is_square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.size > 0
        if not is_square or not np.isfinite(matrix).all():
            raise ValueError(
                f"the covariance has shape {np.shape(covariance)}; finite values are needed, of "
                "shape (dim, dim) or (dim,)"
            )
        variances, directions = np.linalg.eigh((matrix + matrix.T) / 2)
        if not variances[0] > 0:
            raise ValueError(
                f"the smallest eigenvalue of the covariance is {variances[0]:g} but must be above "
                "0; use within_mode_covariance(draws, gradients)"
            )
        dtype = jnp.result_type(float)
        self.variances = jnp.asarray(variances, dtype)
        self.directions = jnp.asarray(directions, dtype)
        self.logdensity_fn = logdensity_fn
        self.noise = noise
        self.levels = levels
        self.weight = weight

    def _split(self, batch: Any) -> tuple[Batch, Batch]:
        """Points and the gradients of their log densities."""
        x, gradients = split_condition(batch)
        if (gradients is None) == (self.logdensity_fn is None):
            given = "no gradients" if gradients is None else "gradients beside a logdensity_fn"
            raise ValueError(
                f"target score matching got {given}; give either pairs (draws, gradients) as "
                "data, or a logdensity_fn to the loss"
            )
        if self.logdensity_fn is not None:
            gradients = jax.vmap(jax.grad(self.logdensity_fn))(x)
        gradients = jnp.asarray(gradients, x.dtype)
        if gradients.shape != x.shape or x[0].size != len(self.variances):
            raise ValueError(
                f"points have shape {x[0].shape}, gradients {gradients.shape[1:]}, and the "
                f"covariance is of {len(self.variances)} coordinates; all three must match"
            )
        return x, gradients

    def target(
        self,
        gradients: Batch,
        z: Batch,
        alpha: Float[Array, " batch"],
        sigma: Float[Array, " batch"],
    ) -> Batch:
        """The regression target times `-sigma`, in place of the noise z.

        Parameters
        ----------
        gradients, z
            `(batch, *event)`: gradients at the clean points, and the noise.
        alpha, sigma
            Signal and noise of each point.
        """
        directions = self.directions.astype(z.dtype)
        signal = alpha[:, None] ** 2 * self.variances.astype(z.dtype)
        share = signal / (signal + sigma[:, None] ** 2)
        num = len(z)
        noise = z.reshape(num, -1)
        of_gradients = -(sigma / alpha)[:, None] * gradients.reshape(num, -1)
        mixed = share * ((of_gradients - noise) @ directions)
        return (noise + mixed @ directions.T).reshape(z.shape)

    def __call__(self, model: Any, batch: Any, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of points `(batch, *event)`, or of a pair of them and of their gradients."""
        noise = process_of(model, self.noise)
        x0, gradients = self._split(batch)
        key_level, key_noise = jax.random.split(rng_key)
        times = self.levels(spread(key_level, len(x0), x0.dtype), noise)
        check_score(model, x0[0], times[0])
        z = jax.random.normal(key_noise, x0.shape, x0.dtype)
        target = self.target(gradients, z, noise.alpha(times), noise.sigma(times))
        return noise_error(model, x0, z, target, noise, times, self.weight)
