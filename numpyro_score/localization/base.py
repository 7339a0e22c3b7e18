"""Observation processes `Y_t` of `x`, increasingly informative as t grows: the interface.

Localization draws `x ~ mu` by simulating `Y_t` without knowing `x`. In the transitions `x` is
replaced by its posterior mean `m(y, t) = E[x | Y_t = y]` (for erasure by the conditional
distribution of each coordinate). As `Y_t` becomes fully informative, it determines `x` (Eldan 2013,
doi:10.1007/s00039-013-0214-y; El Alaoui, Montanari and Sellke 2022, arXiv:2203.05093; the schemes
are those of Montanari 2023, arXiv:2305.10690).
"""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.types import RngKey, Scalar

Point = Float[Array, "..."]
"""One `x`."""

Observation = Float[Array, "..."]
"""One `Y_t`."""

Summary = Float[Array, "..."]
"""A posterior summary of `x`: its mean, or the distribution of each coordinate."""


class Moments(NamedTuple):
    """Mean and sd of each coordinate of `x`, which standardise a network's input; sd above 0."""

    mean: Float[Array, "..."]
    sd: Float[Array, "..."]


class ObservationProcess(eqx.Module):
    """The interface of an observation process; subclasses define the abstract members.

    Attributes
    ----------
    shape
        Shape of one `x`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.localization import IsotropicGaussian
    >>> process = IsotropicGaussian(2)
    >>> y = process.observe(jax.random.key(0), jnp.ones(2), 100.0)  # t x + W_t
    >>> isinstance(process, ObservationProcess), process.shape, process.last_time
    (True, (2,), inf)
    >>> bool((abs(y / 100.0 - 1.0) < 0.5).all())
    True
    """

    shape: eqx.AbstractVar[tuple[int, ...]]

    @property
    def last_time(self) -> float:
        """The time at which `Y_t` determines `x`: infinity, or 1 for processes in finite time."""
        return float("inf")

    @property
    def localizes(self) -> str:
        """What the observations determine: "x", or the name of a function of it."""
        return "x"

    @abstractmethod
    def observe(self, rng_key: RngKey, x: Point, t: Scalar) -> Observation:
        """A draw of `Y_t` given `x`."""

    @abstractmethod
    def log_likelihood(self, y: Observation, x: Point, t: Scalar) -> Float[Array, ""]:
        """Log density (or probability) of `Y_t = y` given `x`, up to terms without `x`."""

    @abstractmethod
    def start(self, rng_key: RngKey) -> Observation:
        """`Y_0`, which is independent of `x`."""

    @abstractmethod
    def step(
        self, rng_key: RngKey, y: Observation, t: Scalar, dt: Scalar, m: Summary
    ) -> Observation:
        """A draw of `Y_{t + dt}` given `Y_t = y` and the posterior summary of `x`.

        The transition is accurate to first order in `dt`.
        """

    def summarize(self, points: Float[Array, "num ..."], weights: Float[Array, " num"]) -> Summary:
        """Posterior summary from weighted points, with weights that sum to 1: their mean."""
        return jnp.tensordot(weights, points, 1)

    def estimate(self, y: Observation, t: Scalar, m: Summary) -> Point:
        """The draw of `x`, from the last observation and its posterior summary."""
        del y, t
        return m

    def error(self, m: Summary, x: Point) -> Float[Array, ""]:
        """Loss whose minimiser over `m(y, t)` is the posterior summary: the squared error."""
        return jnp.mean((m - x) ** 2)

    @abstractmethod
    def features(self, y: Observation, t: Scalar, data: Moments) -> tuple[Array, Array]:
        """Inputs of a network: the observation with variance about 1, and a level for the time."""

    def link(self, out: Array, y: Observation, t: Scalar, data: Moments) -> Summary:
        """Posterior summary from the output of a network, which has the shape of its input."""
        del y, t
        return data.mean + data.sd * out

    def check_points(self, points: object) -> None:
        """Check that points `(num, *shape)` can be observed by the process.

        Raises
        ------
        ValueError
            There are no points, or they are not finite, outside of the support or of another shape.
        """
        values = np.asarray(points)
        if values.shape[1:] != self.shape or not values.size:
            raise ValueError(
                f"the points have shape {values.shape}; give at least one point, shape (number of "
                f"points, {', '.join(map(str, self.shape))})"
            )
        if not np.isfinite(values).all():
            raise ValueError("some points are not finite; leave them out")
        self._check_support(values)

    def _check_support(self, values: np.ndarray) -> None:
        """Check that values are in the support; by default every real number is."""


def log_level(t: Scalar, variance: Float[Array, "..."]) -> Float[Array, ""]:
    """`log(t v) / 2` for the mean variance `v`: the log signal-to-noise ratio, kept finite."""
    return 0.5 * jnp.log(jnp.clip(t * jnp.mean(variance), 1e-6, 1e12))


def normal_like(rng_key: RngKey, x: Array) -> Array:
    """Standard normal noise of the shape and type of `x`."""
    return jax.random.normal(rng_key, x.shape, x.dtype)
