"""Observations with Gaussian noise: isotropic, with a schedule of directions, or of `A x`.

    isotropic     Y_t = t x + W_t,                   dY = m dt + dB
    anisotropic   dY = Q(t) x dt + Q(t)^(1/2) dW,    dY = Q m dt + Q^(1/2) dB
    linear        Y_t = t A x + B_t,                 dY = A m dt + dB

On the right `dB` is the innovation, the noise given the past of `Y` alone. It is a Brownian motion
too, so that replacing `x` by its posterior mean does not change the distribution of `Y` (Montanari
2023, arXiv:2305.10690, sections 3 and 4). `m` is held constant during a step.
"""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.localization.base import (
    Moments,
    Observation,
    ObservationProcess,
    Point,
    Summary,
    log_level,
    normal_like,
)
from numpyro_score.scores.mlp import as_shape
from numpyro_score.types import RngKey, Scalar

PSD_TOLERANCE = 1e-6
"""Negative eigenvalues up to this size, relative to the largest, are due to rounding."""


@final
class IsotropicGaussian(ObservationProcess):
    """`Y_t = t x + W_t`, a diffusion model with another time scale; see `means`.

    Parameters
    ----------
    shape
        Length of `x`, or its shape.

    Raises
    ------
    ValueError
        A size is below 1.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> process = IsotropicGaussian(2)
    >>> y = process.observe(jax.random.key(0), jnp.array([1.0, -1.0]), 1e6)
    >>> (y / 1e6).round(2).tolist()
    [1.0, -1.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...]):
        self.shape = as_shape(shape)

    def observe(self, rng_key: RngKey, x: Point, t: Scalar) -> Observation:
        """`t x + sqrt(t) z`."""
        return t * x + jnp.sqrt(t) * normal_like(rng_key, x)

    def log_likelihood(self, y: Observation, x: Point, t: Scalar) -> Float[Array, ""]:
        """`y . x - t |x|^2 / 2`."""
        return jnp.sum(y * x) - 0.5 * t * jnp.sum(x**2)

    def start(self, rng_key: RngKey) -> Observation:
        """0."""
        del rng_key
        return jnp.zeros(self.shape)

    def step(
        self, rng_key: RngKey, y: Observation, t: Scalar, dt: Scalar, m: Summary
    ) -> Observation:
        """`y + m dt + sqrt(dt) z`."""
        del t
        return y + dt * m + jnp.sqrt(dt) * normal_like(rng_key, y)

    def features(self, y: Observation, t: Scalar, data: Moments) -> tuple[Array, Array]:
        """`y`, standardised for Gaussian data."""
        spread = jnp.sqrt(t + (t * data.sd) ** 2 + jnp.finfo(y.dtype).tiny)
        return (y - t * data.mean) / spread, log_level(t, data.sd**2)

    def link(self, out: Array, y: Observation, t: Scalar, data: Moments) -> Summary:
        """The posterior mean for Gaussian data, plus the output times the posterior sd."""
        variance = data.sd**2 / (1 + t * data.sd**2)
        return data.mean + variance * (y - t * data.mean) + jnp.sqrt(variance) * out


@final
class AnisotropicGaussian(ObservationProcess):
    """`dY = Q(t) x dt + Q(t)^(1/2) dW`, with `Q` constant between knots.

    Parameters
    ----------
    matrices
        `(num, dim, dim)`: `Q` from one knot to the next, the last one for ever; each symmetric,
        with no negative eigenvalue.
    knots
        `(num,)`: increasing times from 0 at which each begins; None for a single matrix.

    Raises
    ------
    ValueError
        Shapes do not match, a matrix is not symmetric or has a negative eigenvalue, or the last
        matrix is singular, so that a direction is not fully observed.

    Examples
    --------
    The first coordinate until time 5, then the second:

    >>> import jax.numpy as jnp
    >>> process = AnisotropicGaussian(
    ...     jnp.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]), [0.0, 5.0]
    ... )
    Traceback (most recent call last):
        ...
    ValueError: the last matrix of Q has eigenvalue 0: its integral does not grow in every
    direction, and x is never known; give a last matrix with eigenvalues above 0
    >>> process = AnisotropicGaussian(
    ...     jnp.array([[[1.0, 0.0], [0.0, 0.0]], [[0.1, 0.0], [0.0, 1.0]]]), [0.0, 5.0]
    ... )
    >>> process.precision(7.0).tolist()
    [[5.199999809265137, 0.0], [0.0, 2.0]]
    """

    matrices: Float[Array, "num dim dim"]
    knots: Float[Array, " num"]
    roots: Float[Array, "num dim dim"]
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, matrices: Any, knots: Any = None):
        values = np.asarray(matrices, float)
        values = values[None] if values.ndim == 2 else values
        if values.ndim != 3 or values.shape[1] != values.shape[2] or not values.size:
            raise ValueError(f"matrices have shape {values.shape}; give (num, dim, dim)")
        times = np.zeros(1) if knots is None else np.asarray(knots, float)
        if times.shape != values.shape[:1] or times[0] != 0 or (np.diff(times) <= 0).any():
            raise ValueError(
                f"knots are {times.tolist()} for {len(values)} matrices; give one for each, "
                "rising from 0"
            )
        if not np.allclose(values, np.swapaxes(values, 1, 2)):
            raise ValueError("a matrix of Q is not symmetric; give (Q + Q^T) / 2")
        spectrum, vectors = np.linalg.eigh(values)
        least = PSD_TOLERANCE * np.abs(spectrum).max()
        if spectrum.min() < -least:
            raise ValueError(
                f"a matrix of Q has eigenvalue {spectrum.min():.3g}; none may be negative"
            )
        if spectrum[-1].min() <= least:
            raise ValueError(
                "the last matrix of Q has eigenvalue 0: its integral does not grow in every "
                "direction, and x is never known; give a last matrix with eigenvalues above 0"
            )
        root = np.sqrt(np.clip(spectrum, 0, None))
        self.matrices = jnp.asarray(values)
        self.knots = jnp.asarray(times)
        self.roots = jnp.asarray(np.einsum("kij,kj,klj->kil", vectors, root, vectors))
        self.shape = values.shape[1:2]

    def durations(self, t: Scalar, dt: Scalar) -> Float[Array, " num"]:
        """The part of the interval from `t` to `t + dt` during which each matrix is used."""
        ends = jnp.append(self.knots[1:], jnp.inf)
        return jnp.maximum(jnp.minimum(ends, t + dt) - jnp.maximum(self.knots, t), 0.0)

    def precision(self, t: Scalar) -> Float[Array, "dim dim"]:
        """`int_0^t Q`: the precision of `x` given `Y_t` under a flat prior."""
        return jnp.tensordot(self.durations(0.0, t), self.matrices, 1)

    def _increment(self, rng_key: RngKey, x: Array, t: Scalar, dt: Scalar) -> Array:
        """`int Q x ds + int Q^(1/2) dW` from `t` to `t + dt`."""
        lasting = self.durations(t, dt)
        z = jax.random.normal(rng_key, (len(lasting), *x.shape), x.dtype)
        noise = jnp.einsum("k,kij,kj->i", jnp.sqrt(lasting), self.roots, z)
        return jnp.tensordot(lasting, self.matrices, 1) @ x + noise

    def observe(self, rng_key: RngKey, x: Point, t: Scalar) -> Observation:
        """`int_0^t Q x ds + int_0^t Q^(1/2) dW`."""
        return self._increment(rng_key, x, 0.0, t)

    def log_likelihood(self, y: Observation, x: Point, t: Scalar) -> Float[Array, ""]:
        """`y . x - x . (int Q) x / 2`."""
        return y @ x - 0.5 * x @ self.precision(t) @ x

    def start(self, rng_key: RngKey) -> Observation:
        """0."""
        del rng_key
        return jnp.zeros(self.shape)

    def step(
        self, rng_key: RngKey, y: Observation, t: Scalar, dt: Scalar, m: Summary
    ) -> Observation:
        """`y + int Q m ds + int Q^(1/2) dB`."""
        return y + self._increment(rng_key, m, t, dt)

    def features(self, y: Observation, t: Scalar, data: Moments) -> tuple[Array, Array]:
        """`y`, standardised for Gaussian data."""
        known = self.precision(t)
        variance = jnp.diag(known) + known**2 @ data.sd**2
        spread = jnp.sqrt(variance + jnp.finfo(y.dtype).tiny)
        return (y - known @ data.mean) / spread, log_level(1.0, jnp.diag(known) * data.sd**2)


@final
class LinearObservation(ObservationProcess):
    """`Y_t = t A x + B_t`: only `A x` is observed.

    If `A` has full column rank the draws are of `x`, otherwise of `A x`.

    Parameters
    ----------
    matrix
        `A`, `(num_observed, dim)`.

    Raises
    ------
    ValueError
        It is not a matrix of finite numbers, or it is 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> LinearObservation(jnp.ones((1, 2))).localizes
    'A x'
    """

    matrix: Float[Array, "observed dim"]
    shape: tuple[int, ...] = eqx.field(static=True)
    has_full_rank: bool = eqx.field(static=True)

    def __init__(self, matrix: Any):
        values = np.asarray(matrix, float)
        if values.ndim != 2 or not np.isfinite(values).all() or not values.any():
            raise ValueError(
                f"the matrix has shape {values.shape}; give (observed, dim), finite and not 0"
            )
        self.matrix = jnp.asarray(values)
        self.shape = values.shape[1:]
        self.has_full_rank = bool(np.linalg.matrix_rank(values) == values.shape[1])

    @property
    def localizes(self) -> str:
        """What the observations determine: "x" if `A` has full column rank, else "A x"."""
        return "x" if self.has_full_rank else "A x"

    def observe(self, rng_key: RngKey, x: Point, t: Scalar) -> Observation:
        """`t A x + sqrt(t) z`."""
        seen = self.matrix @ x
        return t * seen + jnp.sqrt(t) * normal_like(rng_key, seen)

    def log_likelihood(self, y: Observation, x: Point, t: Scalar) -> Float[Array, ""]:
        """`y . A x - t |A x|^2 / 2`."""
        seen = self.matrix @ x
        return y @ seen - 0.5 * t * seen @ seen

    def start(self, rng_key: RngKey) -> Observation:
        """0."""
        del rng_key
        return jnp.zeros(len(self.matrix))

    def step(
        self, rng_key: RngKey, y: Observation, t: Scalar, dt: Scalar, m: Summary
    ) -> Observation:
        """`y + A m dt + sqrt(dt) z`."""
        del t
        return y + dt * self.matrix @ m + jnp.sqrt(dt) * normal_like(rng_key, y)

    def features(self, y: Observation, t: Scalar, data: Moments) -> tuple[Array, Array]:
        """`A^T y`, a sufficient statistic, standardised for Gaussian data."""
        gram = self.matrix.T @ self.matrix
        variance = t * jnp.diag(gram) + t**2 * gram**2 @ data.sd**2
        centred = self.matrix.T @ y - t * gram @ data.mean
        spread = jnp.sqrt(variance + jnp.finfo(y.dtype).tiny)
        return centred / spread, log_level(t, jnp.diag(gram) * data.sd**2)

    def estimate(self, y: Observation, t: Scalar, m: Summary) -> Point:
        """`m`, or `A m` if the observations do not determine `x`."""
        del y, t
        return m if self.has_full_rank else self.matrix @ m
