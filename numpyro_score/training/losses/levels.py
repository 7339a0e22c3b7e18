"""At which noise levels a denoising loss is taken, and with which weight lambda.

A level is `sigma / alpha`, the noise in units of the data. Levels are drawn by inverting their
distribution function at evenly spread numbers, one in each of as many equal parts of (0, 1) as
the batch has points, shifted together: unbiased, and with less variance than drawing each alone
(Kingma et al. 2021, arXiv:2107.00630, appendix I.1).
"""

from collections.abc import Callable
from typing import Any, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive
from numpyro_score.noise import NoiseProcess
from numpyro_score.types import RngKey

SMALLEST_TIME = 1e-3
"""Where levels begin for a process that has no noise at t = 0."""

Levels: TypeAlias = Callable[[Array, NoiseProcess], Array]
"""(numbers in (0, 1), process) -> times: the inverse distribution function of the time."""

Weight: TypeAlias = Callable[[Array, Array], Array]
"""(alpha, sigma) -> lambda, the weight of `1/2 |s + z / sigma|^2`."""


def spread(rng_key: RngKey, num: int, dtype: Any) -> Float[Array, " num"]:
    """Numbers of (0, 1), one in each of `num` equal parts, at the same random place of each."""
    evenly = (jnp.arange(num) + jax.random.uniform(rng_key, dtype=dtype)) / num
    tiny = jnp.finfo(evenly.dtype).eps
    return jnp.clip(evenly, tiny, 1 - tiny)


def _least(noise: NoiseProcess, dtype: Any) -> Float[Array, ""]:
    """The smallest level of a process at which there is noise."""
    first, near = (noise.ratio(jnp.asarray(t, dtype)) for t in (0.0, SMALLEST_TIME))
    return jnp.where(first > 0, first, near)


def _check_ends(low: float | None, high: float | None) -> None:
    ends = [end for end in (low, high) if end is not None]
    if any(not 0 < end < float("inf") for end in ends) or sorted(set(ends)) != ends:
        raise ValueError(
            f"noise levels from {low} to {high}; 0 < ratio_min < ratio_max is needed, in units of "
            "the data"
        )


@final
class LogUniform(eqx.Module):
    """Levels uniform in `log(sigma / alpha)`.

    Parameters
    ----------
    ratio_min, ratio_max
        Ends; by default those of the process, from t = .001 where it has no noise at 0.

    Raises
    ------
    ValueError
        Unless 0 < ratio_min < ratio_max.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> t = LogUniform()(jnp.array([0.25, 0.75]), VE(0.01, 100.0))
    >>> bool(jnp.allclose(t, jnp.array([0.25, 0.75])))  # VE is geometric itself
    True
    """

    ratio_min: float | None = None
    ratio_max: float | None = None

    def __check_init__(self) -> None:
        _check_ends(self.ratio_min, self.ratio_max)

    def __call__(self, u: Float[Array, "..."], noise: NoiseProcess) -> Float[Array, "..."]:
        """Times at which the distribution function of the level is u."""
        last = noise.ratio(jnp.ones((), u.dtype))
        low = jnp.log(_least(noise, u.dtype) if self.ratio_min is None else self.ratio_min)
        high = jnp.log(last if self.ratio_max is None else self.ratio_max)
        return noise.time_of(jnp.exp(low + u * (high - low)))


@final
class LogNormal(eqx.Module):
    """Levels with `log(sigma / alpha) ~ N(mean, sd^2)` (Karras et al. 2022, arXiv:2206.00364).

    Levels outside of the process's range are its ends. Small levels are rarely seen, and learned
    worse than by `LogUniform`.

    Parameters
    ----------
    mean, sd
        Of the logarithm. The defaults are those of Karras et al. for images of sd 0.5; for data of
        sd s the same distribution has `mean = -0.5 + log(s)`.

    Raises
    ------
    ValueError
        If sd is not above 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> noise = VE(0.01, 100.0)
    >>> t = LogNormal(mean=0.0)(jnp.array([0.5]), noise)
    >>> noise.ratio(t).round(3).tolist()  # the median level is e^mean
    [1.0]
    """

    mean: float = -1.2
    sd: float = 1.2

    def __check_init__(self) -> None:
        check_positive("sd", self.sd)

    def __call__(self, u: Float[Array, "..."], noise: NoiseProcess) -> Float[Array, "..."]:
        """Times at which the distribution function of the level is u."""
        ratio = jnp.exp(self.mean + self.sd * ndtri(u))
        return noise.time_of(jnp.maximum(ratio, _least(noise, u.dtype)))


@final
class UniformTime(eqx.Module):
    """Times uniform from `first` to 1 (Ho, Jain and Abbeel 2020, arXiv:2006.11239).

    Parameters
    ----------
    first
        In (0, 1): at 0 some processes have no noise, and nothing to learn.

    Raises
    ------
    ValueError
        If it is not in (0, 1).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numpyro_score.noise import VP
    >>> UniformTime(first=0.5)(jnp.array([0.0, 0.5, 1.0]), VP()).tolist()
    [0.5, 0.75, 1.0]
    """

    first: float = SMALLEST_TIME

    def __check_init__(self) -> None:
        if not 0 < self.first < 1:
            raise ValueError(f"first is {self.first:g} but must lie between 0 and 1")

    def __call__(self, u: Float[Array, "..."], noise: NoiseProcess) -> Float[Array, "..."]:
        """Times at which the distribution function of the time is u."""
        del noise
        return self.first + u * (1 - self.first)


def sigma_squared(alpha: Float[Array, "..."], sigma: Float[Array, "..."]) -> Float[Array, "..."]:
    """`lambda = sigma^2`: the squared error of the predicted noise.

    Every level weighs alike (Song and Ermon 2019, arXiv:1907.05600, section 4.2).

    Parameters
    ----------
    alpha, sigma
        Signal and noise, of any shape.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> sigma_squared(jnp.ones(2), jnp.array([0.5, 2.0])).tolist()
    [0.25, 4.0]
    """
    del alpha
    return sigma**2


@final
class EDMWeight(eqx.Module):
    """Weight under which a preconditioned network's output has squared error 1 at the start.

    In units of `r = sigma / alpha` the squared error of the denoised point has weight
    `(r^2 + sd^2) / (r sd)^2` (Karras et al. 2022, arXiv:2206.00364, table 1).

    Parameters
    ----------
    data_sd
        Sd of the data, above 0, which the network's preconditioning uses too.

    Raises
    ------
    ValueError
        If it is not above 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> EDMWeight(data_sd=1.0)(jnp.ones(2), jnp.array([0.5, 2.0])).tolist()
    [0.3125, 20.0]
    """

    data_sd: float = 1.0

    def __check_init__(self) -> None:
        check_positive("data_sd", self.data_sd)

    def __call__(
        self, alpha: Float[Array, "..."], sigma: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """`sigma^2 (r^2 + sd^2) / sd^2`, since `|D - x_0|^2 = r^2 |sigma s + z|^2`."""
        return sigma**2 * (1 + (sigma / (alpha * self.data_sd)) ** 2)
