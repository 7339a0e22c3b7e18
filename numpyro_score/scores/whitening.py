"""Draws in whitened coordinates, and a score that was learned there.

Posteriors have parameters of very different scales, strong correlations, and locations that are
large beside their spread, such as a Julian date of 2458000.123 +- .0005. A network in single
precision, at noise levels that all coordinates share, learns none of these. Draws are therefore
centred and scaled in double precision on the host,

    v = L^-1 (x - c),

with c their mean and `L L^T` proportional to their covariance (Cholesky whitening: Kessy, Lewin and
Strimmer 2018, doi:10.1080/00031305.2016.1277159) or to its diagonal. The score is learned in v, and
draws of it are mapped back in double precision.
"""

import math
from typing import Any, Self, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import ScoreModel
from numpyro_score.scores.standardisation import (
    Data,
    check_data,
    check_outliers,
    check_resolution,
    check_scale,
)
from numpyro_score.types import Scalar

Event = Float[Array, "..."]
Condition = Float[Array, " condition"]

DRAWS_PER_COORDINATE = 10
"""Draws that correlations are estimated from, at least, for every coordinate."""

RIDGE = 1e-6
"""What is added to the diagonal of the correlations before they are factored."""


@final
class Whitening(eqx.Module):
    """`x = center + factor v`: coordinates v in which all directions have one sd.

    That sd is the geometric mean of the sds of the x, so that v is x less its mean where those are
    equal and there are no correlations.

    Parameters
    ----------
    center
        `(*event)`, float64.
    factor
        Scales `(*event)`, or a lower triangular matrix `(dim, dim)` for vectors `(dim,)`; float64,
        diagonal above 0.

    Raises
    ------
    ValueError
        If shapes do not match or the factor is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> x = 1e6 + np.random.default_rng(0).normal(size=(1000, 2)) * [100.0, 0.01]
    >>> whitening = Whitening.from_draws(x)
    >>> v = whitening.whiten(x)
    >>> v.std(axis=0).round(2).tolist(), bool(np.allclose(whitening.unwhiten(v), x, atol=1e-4))
    ([1.0, 1.0], True)
    """

    center: Any
    factor: Any

    def __check_init__(self) -> None:
        shape = np.shape(self.center)
        is_matrix = np.shape(self.factor) == (*shape, *shape) and len(shape) == 1
        if not is_matrix and np.shape(self.factor) != shape:
            raise ValueError(
                f"center has shape {shape} and factor {np.shape(self.factor)}; the factor is of "
                "the center's shape, or for vectors a lower triangular matrix (dim, dim)"
            )
        diagonal = np.diagonal(self.factor) if is_matrix else self.factor
        if isinstance(diagonal, np.ndarray) and not (diagonal > 0).all():
            raise ValueError("the factor has scales that are not above 0")

    @classmethod
    def from_draws(cls, draws: Data, correlations: bool | None = None) -> Self:
        """The whitening of draws.

        Parameters
        ----------
        draws
            `(num, *event)`, in the precision in which they are known. A coordinate that is
            constant keeps its value.
        correlations
            Whether to remove correlations as well; by default for vectors with at least ten draws
            for every coordinate.

        Raises
        ------
        ValueError
            If draws are missing, not finite, or too coarse for their spread; if their squares
            overflow or vanish; if a few outliers hold nearly all of the variance; or if
            correlations are asked for points that are not vectors.
        """
        x = check_data(draws)
        center, sd = x.mean(axis=0), x.std(axis=0)
        check_resolution(center, sd, np.asarray(draws).dtype)
        check_outliers(x)
        varies = np.ptp(x, axis=0) > 4 * np.spacing(np.abs(center))
        center = np.where(varies, center, x[0])
        overall = math.exp(np.log(sd[varies]).mean()) if varies.any() else 1.0
        check_scale(overall, jnp.result_type(float))
        scale = np.where(varies, sd, np.maximum(np.spacing(np.abs(center)), 1e-300))
        is_vector = x.ndim == 2
        if correlations and not is_vector:
            raise ValueError(
                f"points have shape {x.shape[1:]}; correlations are of vectors, shape (dim,)"
            )
        if correlations is None:
            correlations = is_vector and len(x) >= DRAWS_PER_COORDINATE * x.shape[1]
        if not correlations:
            return cls(center, scale / overall)
        u = np.where(varies, (x - center) / scale, 0.0)
        matrix = u.T @ u / len(u) + np.diag(np.where(varies, RIDGE, 1.0))
        return cls(center, scale[:, None] * np.linalg.cholesky(matrix) / overall)

    @property
    def is_full(self) -> bool:
        """Whether the factor is a matrix."""
        return np.ndim(self.factor) == 2 and np.shape(self.factor) != np.shape(self.center)

    def whiten(self, x: Data) -> Float[np.ndarray, "num *event"]:
        """Coordinates `(num, *event)` of points, computed and returned in float64."""
        away = np.asarray(x, np.float64) - self.center
        return np.linalg.solve(self.factor, away.T).T if self.is_full else away / self.factor

    def unwhiten(self, v: Data) -> Float[np.ndarray, "num *event"]:
        """Points `(num, *event)` of coordinates, computed and returned in float64."""
        v = np.asarray(v, np.float64)
        return self.center + (v @ self.factor.T if self.is_full else v * self.factor)

    # -- on the device, for one point -------------------------------------------------------------

    def to_standard(self, x: Event) -> Event:
        """Coordinates of one point, in its float type."""
        away = x - jnp.asarray(self.center, x.dtype)
        factor = jnp.asarray(self.factor, x.dtype)
        return solve_triangular(factor, away, lower=True) if self.is_full else away / factor

    def from_standard(self, v: Event) -> Event:
        """The point of one vector of coordinates, in its float type."""
        factor = jnp.asarray(self.factor, v.dtype)
        return jnp.asarray(self.center, v.dtype) + (factor @ v if self.is_full else factor * v)

    def pull_back(self, gradient: Event) -> Event:
        """A gradient in x from one in v."""
        factor = jnp.asarray(self.factor, gradient.dtype)
        if self.is_full:
            return solve_triangular(factor, gradient, lower=True, trans=1)
        return gradient / factor


@final
class WhitenedScore(ScoreModel):
    """A score in x that was learned in whitened coordinates v.

    It is the gradient in x of the log density of `x_t = c + L (alpha v_0 + sigma z)`. The noise is
    isotropic in v and not in x. Samplers need isotropic noise: they take `standard`, and
    `whitening.unwhiten` maps their draws.

    Parameters
    ----------
    standard
        The score in v.
    whitening
        What takes v to x.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import gaussian_score
    >>> standard = gaussian_score(jnp.zeros(2), jnp.ones(2), VE(0.01, 10.0))
    >>> whitening = Whitening(np.array([5.0, 0.0]), np.array([10.0, 0.1]))
    >>> score = WhitenedScore(standard, whitening)
    >>> [round(float(s), 2) for s in score(jnp.array([15.0, 0.1]), 0.0)]  # N(5, 10^2), N(0, .1^2)
    [-0.1, -10.0]
    """

    standard: ScoreModel
    whitening: Whitening
    noise: NoiseProcess
    location_ratio: float = eqx.field(static=True)

    def __init__(self, standard: ScoreModel, whitening: Whitening):
        self.standard = standard
        self.whitening = whitening
        self.noise = standard.noise
        scale = np.abs(np.diagonal(whitening.factor)) if whitening.is_full else whitening.factor
        moments = standard.data_moments
        overall = 1.0 if moments is None else float(np.sqrt(np.mean(np.asarray(moments[1]) ** 2)))
        # constant coordinates have scales of rounding errors, and no gradient that is of use
        counts = scale > 4 * np.spacing(np.abs(whitening.center))
        ratios = np.abs(whitening.center[counts]) / (overall * scale[counts])
        self.location_ratio = float(ratios.max(initial=0.0))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one point."""
        return self.standard.shape

    def _standard(self, x: Event) -> Event:
        """Coordinates of a point.

        Raises
        ------
        ValueError
            If the float type of `x` cannot resolve the spread of the draws at their location.
        """
        check_resolution(self.location_ratio, 1.0, x.dtype)
        return self.whitening.to_standard(x)

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` and time `t`.

        Raises
        ------
        ValueError
            If the float type of `x` cannot resolve the spread of the draws at their location.
        """
        return self.whitening.pull_back(self.standard(self._standard(x), t, y))

    def denoise(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """`E[x_0 | x_t = x]`."""
        return self.whitening.from_standard(self.standard.denoise(self._standard(x), t, y))

    def predict_noise(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """`E[z | x_t = x]`, the noise in the whitened coordinates, in units of `sigma`."""
        return self.standard.predict_noise(self._standard(x), t, y)

    def predict_velocity(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """`E[alpha z - sigma v_0 | x_t = x]`, in the whitened coordinates."""
        return self.standard.predict_velocity(self._standard(x), t, y)
