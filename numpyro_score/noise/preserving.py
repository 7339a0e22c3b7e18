"""Variance-preserving noise and related processes: the signal shrinks as the noise grows.

    VP        alpha^2 = exp(-int_0^t beta),  sigma^2 = 1 - alpha^2,  beta(t) linear
    CosineVP  alpha = cos(angle(t)) / cos(angle(0)),  sigma^2 = 1 - alpha^2,  angle(t) linear
    SubVP     alpha as VP,  sigma = 1 - alpha^2
    OU        alpha = exp(-T t),  sigma^2 = 1 - alpha^2

VP and sub-VP: Song et al. 2021, arXiv:2011.13456, section 3.4. Cosine: Nichol and Dhariwal 2021,
arXiv:2102.09672; where they clip `beta` at the noisy end, `alpha(1) > 0` here. OU is the process
`dX = -X ds + sqrt(2) dB` run for a time T, `s = T t`. Data of variance 1 keep variance 1, except
under sub-VP, where it becomes smaller.
"""

import math
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive
from numpyro_score.noise.base import NoiseProcess, as_time
from numpyro_score.types import Time


def _one_minus_square(log_alpha: Array) -> Array:
    """`1 - alpha^2`, accurate near `alpha = 1`."""
    return -jnp.expm1(2 * log_alpha)


def _log_alpha_of_ratio(ratio: Time) -> Array:
    """`log alpha` where `sigma / alpha = ratio` and `sigma^2 = 1 - alpha^2`."""
    return -0.5 * jnp.log1p(as_time(ratio) ** 2)


def _linear_log_alpha(t: Time, beta_min: float, beta_max: float) -> Array:
    """`-1/2 int_0^t beta` for `beta` linear in t."""
    t = as_time(t)
    return -0.5 * t * (beta_min + 0.5 * (beta_max - beta_min) * t)


def _linear_time(log_alpha: Array, beta_min: float, beta_max: float) -> Array:
    """Inverse of `_linear_log_alpha`, by the numerically stable root of the quadratic."""
    integral = -2 * log_alpha
    root = jnp.sqrt(beta_min**2 + 2 * (beta_max - beta_min) * integral)
    return jnp.clip(2 * integral / (beta_min + root), 0.0, 1.0)


def _check_betas(name: str, beta_min: float, beta_max: float) -> None:
    if not 0 < beta_min < beta_max < math.inf:
        raise ValueError(
            f"{name} got beta_min = {beta_min:g} and beta_max = {beta_max:g}; "
            "0 < beta_min < beta_max is needed"
        )


@final
class VP(NoiseProcess):
    """Variance-preserving process with `beta` linear in t; DDPM in continuous time.

    Parameters
    ----------
    beta_min, beta_max
        `beta(0)` and `beta(1)`, rates per unit of t.

    Raises
    ------
    ValueError
        Unless 0 < beta_min < beta_max.

    Examples
    --------
    >>> noise = VP()
    >>> float(noise.sigma(0.0)), round(float(noise.alpha(1.0)), 4)
    (0.0, 0.0066)
    >>> round(float(noise.squared_diffusion(0.5)), 3)  # beta(1/2)
    10.05
    """

    beta_min: float = eqx.field(static=True, default=0.1, converter=float)
    beta_max: float = eqx.field(static=True, default=20.0, converter=float)

    def __check_init__(self) -> None:
        _check_betas("VP", self.beta_min, self.beta_max)

    def log_alpha(self, t: Time) -> Float[Array, "..."]:
        """`log alpha`, elementwise."""
        return _linear_log_alpha(t, self.beta_min, self.beta_max)

    def variance(self, t: Time) -> Float[Array, "..."]:
        """`sigma^2 = 1 - alpha^2`, elementwise."""
        return _one_minus_square(self.log_alpha(t))

    def time_of(self, ratio: Time) -> Float[Array, "..."]:
        """Time at which `sigma / alpha` is `ratio`."""
        return _linear_time(_log_alpha_of_ratio(ratio), self.beta_min, self.beta_max)


@final
class SubVP(NoiseProcess):
    """Sub-VP process: VP's signal with less noise, `sigma = 1 - alpha^2`.

    Parameters
    ----------
    beta_min, beta_max
        `beta(0)` and `beta(1)`, rates per unit of t.

    Raises
    ------
    ValueError
        Unless 0 < beta_min < beta_max.

    Examples
    --------
    >>> bool(SubVP().sigma(0.2) < VP().sigma(0.2))
    True
    """

    beta_min: float = eqx.field(static=True, default=0.1, converter=float)
    beta_max: float = eqx.field(static=True, default=20.0, converter=float)

    def __check_init__(self) -> None:
        _check_betas("SubVP", self.beta_min, self.beta_max)

    def log_alpha(self, t: Time) -> Float[Array, "..."]:
        """`log alpha`, elementwise."""
        return _linear_log_alpha(t, self.beta_min, self.beta_max)

    def variance(self, t: Time) -> Float[Array, "..."]:
        """`sigma^2 = (1 - alpha^2)^2`, elementwise."""
        return _one_minus_square(self.log_alpha(t)) ** 2

    def time_of(self, ratio: Time) -> Float[Array, "..."]:
        """Time at which `sigma / alpha` is `ratio`: `1 / alpha - alpha = ratio`."""
        log_alpha = -jnp.arcsinh(as_time(ratio) / 2)
        return _linear_time(log_alpha, self.beta_min, self.beta_max)


@final
class CosineVP(NoiseProcess):
    """Variance-preserving process whose signal is a cosine in t: slower at both ends than `VP`.

    Parameters
    ----------
    offset
        `s > 0`: shift of t = 0 from the maximum of the cosine, so that noise grows from the start.
    alpha_end
        Scale of the signal at t = 1, above 0.

    Raises
    ------
    ValueError
        Unless offset > 0 and 0 < alpha_end < 1.

    Examples
    --------
    >>> noise = CosineVP()
    >>> round(float(noise.alpha(0.0)), 4), round(float(noise.alpha(1.0)), 4)
    (1.0, 0.005)
    """

    offset: float = eqx.field(static=True, default=0.008, converter=float)
    alpha_end: float = eqx.field(static=True, default=0.005, converter=float)

    def __check_init__(self) -> None:
        if not (0 < self.offset < math.inf and 0 < self.alpha_end < 1):
            raise ValueError(
                f"CosineVP got offset = {self.offset:g} and alpha_end = {self.alpha_end:g}; "
                "offset > 0 and 0 < alpha_end < 1 are needed"
            )

    def log_alpha(self, t: Time) -> Float[Array, "..."]:
        """`log alpha`, elementwise."""
        first, last = self._angles
        # the cosine as the sine of the remaining angle, which is accurate near t = 1
        left = (0.5 * math.pi - last) + (last - first) * (1 - as_time(t))
        return jnp.log(jnp.sin(left) / math.cos(first))

    def variance(self, t: Time) -> Float[Array, "..."]:
        """`sigma^2 = 1 - alpha^2`, elementwise."""
        first, last = self._angles
        gone = (last - first) * as_time(t)
        # cos^2 a - cos^2 b = sin(b - a) sin(b + a)
        return jnp.sin(gone) * jnp.sin(gone + 2 * first) / math.cos(first) ** 2

    def time_of(self, ratio: Time) -> Float[Array, "..."]:
        """Time at which `sigma / alpha` is `ratio`."""
        first, last = self._angles
        ratio = as_time(ratio)
        # cos(first) tan(angle), and sin(angle - first) without cancellation
        tangent = jnp.hypot(ratio, math.sin(first))
        sine = math.cos(first) * ratio**2 / (tangent + math.sin(first)) / jnp.hypot(ratio, 1.0)
        angle = jnp.arctan2(tangent, math.cos(first))
        gone = jnp.where(sine < 0.5, jnp.arcsin(jnp.minimum(sine, 0.5)), angle - first)
        return jnp.clip(gone / (last - first), 0.0, 1.0)

    @property
    def _angles(self) -> tuple[float, float]:
        first = 0.5 * math.pi * self.offset / (1 + self.offset)
        return first, math.acos(self.alpha_end * math.cos(first))


@final
class OU(NoiseProcess):
    """Ornstein-Uhlenbeck process `dX = -X ds + sqrt(2) dB`, run to `end_time`, `s = end_time t`.

    Parameters
    ----------
    end_time
        T > 0; the scale of the signal at t = 1 is `exp(-T)`.

    Raises
    ------
    ValueError
        Unless end_time > 0.

    Examples
    --------
    >>> noise = OU(end_time=5.0)
    >>> float(noise.drift_coefficient(0.3)), round(float(noise.squared_diffusion(0.3)), 3)
    (-5.0, 10.0)
    """

    end_time: float = eqx.field(static=True, default=5.0, converter=float)

    def __check_init__(self) -> None:
        check_positive("end_time", self.end_time)

    def log_alpha(self, t: Time) -> Float[Array, "..."]:
        """`log alpha`, elementwise."""
        return -self.end_time * as_time(t)

    def variance(self, t: Time) -> Float[Array, "..."]:
        """`sigma^2 = 1 - alpha^2`, elementwise."""
        return _one_minus_square(self.log_alpha(t))

    def time_of(self, ratio: Time) -> Float[Array, "..."]:
        """Time at which `sigma / alpha` is `ratio`."""
        return jnp.clip(-_log_alpha_of_ratio(ratio) / self.end_time, 0.0, 1.0)
