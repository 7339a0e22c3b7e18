"""What every observation process offers: a view `Y_t` of `x` that tells more and more of it.

Localization draws `x ~ mu` without seeing it: it simulates the law of `Y_t` by transitions in which
the unknown `x` is replaced by what is known of it, the posterior mean `m(y, t) = E[x | Y_t = y]`
(for erasure the conditional law of each coordinate). When `Y_t` tells all, `x` is there
(Eldan 2013, doi:10.1007/s00039-013-0214-y; El Alaoui, Montanari and Sellke 2022,
arXiv:2203.05093; Montanari 2023, arXiv:2305.10690, whose schemes these are).
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
"""What is known of `x`: its posterior mean, or the law of each coordinate."""


class Moments(NamedTuple):
    """Mean and sd of each coordinate of `x`, a network's units; sd above 0."""

    mean: Float[Array, "..."]
    sd: Float[Array, "..."]


class ObservationProcess(eqx.Module):
    """The interface of an observation process; its leaves define the abstract members.

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
        """When `Y_t` tells all: infinity, or 1 where it is told in finite time."""
        return float("inf")

    @property
    def localizes(self) -> str:
        """What becomes known: "x", or a function of it where the observations are blind."""
        return "x"

    @abstractmethod
    def observe(self, rng_key: RngKey, x: Point, t: Scalar) -> Observation:
        """A draw of `Y_t` given `x`."""

    @abstractmethod
    def log_likelihood(self, y: Observation, x: Point, t: Scalar) -> Float[Array, ""]:
        """Log density (or probability) of `Y_t = y` given `x`, up to what is free of `x`."""

    @abstractmethod
    def start(self, rng_key: RngKey) -> Observation:
        """`Y_0`, which tells nothing."""

    @abstractmethod
    def step(
        self, rng_key: RngKey, y: Observation, t: Scalar, dt: Scalar, m: Summary
    ) -> Observation:
        """`Y_{t + dt}` given `Y_t = y` and what is known of `x` there.

        The transition is right to first order in `dt`.
        """

    def summarize(self, points: Float[Array, "num ..."], weights: Float[Array, " num"]) -> Summary:
        """What weighted points, weights of sum 1, say of `x`: their mean."""
        return jnp.tensordot(weights, points, 1)

    def estimate(self, y: Observation, t: Scalar, m: Summary) -> Point:
        """The draw of what localizes, from the last observation."""
        del y, t
        return m

    def error(self, m: Summary, x: Point) -> Float[Array, ""]:
        """Loss whose minimiser over `m(y, t)` is what is to be known: the squared error."""
        return jnp.mean((m - x) ** 2)

    @abstractmethod
    def features(self, y: Observation, t: Scalar, data: Moments) -> tuple[Array, Array]:
        """What a network is shown: the observation with variance about 1, and the time's level."""

    def link(self, out: Array, y: Observation, t: Scalar, data: Moments) -> Summary:
        """What is known of `x` by a network's output, shaped like what it is shown."""
        del y, t
        return data.mean + data.sd * out

    def check_points(self, points: object) -> None:
        """Refuse points `(num, *shape)` that the process cannot observe.

        Raises
        ------
        ValueError
            If there are none, or they are not finite, or of another shape.
        """
        values = np.asarray(points)
        if values.shape[1:] != self.shape or not values.size:
            raise ValueError(
                f"the points have shape {values.shape}; (number of points, "
                f"{', '.join(map(str, self.shape))}) is needed, with at least one point"
            )
        if not np.isfinite(values).all():
            raise ValueError("some points are not finite; leave them out")
        self._check_support(values)

    def _check_support(self, values: np.ndarray) -> None:
        """Refuse values outside of the support; every real number is in it unless a leaf says."""


def log_level(t: Scalar, variance: Float[Array, "..."]) -> Float[Array, ""]:
    """`log(t v) / 2` for the mean `v` of variances: the log of signal over noise, kept finite."""
    return 0.5 * jnp.log(jnp.clip(t * jnp.mean(variance), 1e-6, 1e12))


def normal_like(rng_key: RngKey, x: Array) -> Array:
    """Standard normal noise of the shape and type of `x`."""
    return jax.random.normal(rng_key, x.shape, x.dtype)
