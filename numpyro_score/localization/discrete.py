"""Observations of discrete values: coordinates revealed one by one, or spins flipped less and less.

**Erasure.** Coordinate i is hidden until a time that is uniform on [0, 1]. The posterior summary is
the distribution of each hidden coordinate. Revealing one at a time is any-order autoregression.

**Binary symmetric channel.** `Y_t = x Z_t` for spins `x` in {-1, 1}^n, with independent signs of
mean `E Z_t = t`. Given `x` and `Y_t = y`, the distribution of a coordinate of `Y_{t'}`, `t' > t`,
is

    P(y' | y, x) = (1 + t' x y') (1 + (t / t') y y') / (2 (1 + t x y)),

since `Y_t` is `Y_{t'}` times independent signs of mean `t / t'`. Averaged over the posterior
`P(x | y) = (1 + m x) / 2` it is a transition without singularity at either end. Its derivative at
`t' = t` is the

    rate of flips = (1 + t^2) / (2 t (1 - t^2)) - y m / (1 - t^2)

(Montanari 2023, arXiv:2305.10690, section 4).
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
)
from numpyro_score.scores.mlp import as_shape
from numpyro_score.types import RngKey, Scalar


def _log_odds(t: Scalar, dtype: Any) -> Float[Array, ""]:
    """`log((1 + t) / (1 - t))`, kept finite at t = 1."""
    known = jnp.minimum(jnp.asarray(t, dtype), 1 - 4 * jnp.finfo(dtype).eps)
    return 2 * jnp.arctanh(known)


def _as_values(values: object) -> tuple[float, ...]:
    known = tuple(float(value) for value in np.asarray(values, float).ravel())
    if len(known) < 2 or len(set(known)) != len(known) or not np.isfinite(known).all():
        raise ValueError(f"values are {known}; give at least two, finite and distinct")
    return known


@final
class Erasure(ObservationProcess):
    """Every coordinate is revealed at an independent time, uniform on [0, 1].

    `Y_t` is `(2, *shape)`: the revealed values (0 where hidden), and whether each is revealed. The
    posterior summary is `(*shape, num_values)`, the probability of each value of each coordinate
    given the revealed ones.

    Parameters
    ----------
    shape
        Length of `x`, or its shape.
    values
        Possible values of a coordinate; by default spins, -1 and 1.

    Raises
    ------
    ValueError
        A size is below 1, or there are fewer than two values.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> process, x = Erasure(4), jnp.array([1.0, -1.0, 1.0, 1.0])
    >>> process.observe(jax.random.key(0), x, 1.0)[0].tolist()  # all are revealed at time 1
    [1.0, -1.0, 1.0, 1.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    values: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...], values: Any = (-1.0, 1.0)):
        self.shape = as_shape(shape)
        self.values = _as_values(values)

    @property
    def last_time(self) -> float:
        """1."""
        return 1.0

    def observe(self, rng_key: RngKey, x: Point, t: Scalar) -> Observation:
        """Each coordinate is revealed with probability `t`."""
        is_revealed = (jax.random.uniform(rng_key, x.shape, x.dtype) < t).astype(x.dtype)
        return jnp.stack([x * is_revealed, is_revealed])

    def log_likelihood(self, y: Observation, x: Point, t: Scalar) -> Float[Array, ""]:
        """0 where `x` agrees with all revealed values, else -inf."""
        del t
        return jnp.where(jnp.all((y[1] == 0) | (y[0] == x)), 0.0, -jnp.inf)

    def start(self, rng_key: RngKey) -> Observation:
        """No coordinate is revealed."""
        del rng_key
        return jnp.zeros((2, *self.shape))

    def step(
        self, rng_key: RngKey, y: Observation, t: Scalar, dt: Scalar, m: Summary
    ) -> Observation:
        """Each hidden coordinate is revealed with probability `dt / (1 - t)`, drawn from `m`.

        Coordinates revealed in the same step are drawn independently given the past, so that steps
        should be short enough that mostly one is revealed.
        """
        key_when, key_value = jax.random.split(rng_key)
        now = jax.random.uniform(key_when, self.shape, y.dtype) * (1 - t) < dt
        is_new = now & (y[1] == 0)
        drawn = jnp.asarray(self.values, y.dtype)[
            jax.random.categorical(key_value, jnp.log(m), axis=-1)
        ]
        return jnp.stack([jnp.where(is_new, drawn, y[0]), jnp.where(is_new, 1.0, y[1])])

    def summarize(self, points: Float[Array, "num ..."], weights: Float[Array, " num"]) -> Summary:
        """Probability of each value at each coordinate."""
        is_value = points[..., None] == jnp.asarray(self.values, points.dtype)
        return jnp.tensordot(weights, is_value.astype(points.dtype), 1)

    def features(self, y: Observation, t: Scalar, data: Moments) -> tuple[Array, Array]:
        """The revealed values, standardised, and whether each is revealed: `(2, *shape)`."""
        return jnp.stack([y[1] * (y[0] - data.mean) / data.sd, y[1]]), jnp.asarray(t, y.dtype)

    def link(self, out: Array, y: Observation, t: Scalar, data: Moments) -> Summary:
        """Probabilities of two values, whose log odds are the difference of the two outputs.

        Raises
        ------
        ValueError
            There are more than two values.
        """
        del y, t, data
        if len(self.values) != 2:
            raise ValueError(
                f"networks support two values, not {len(self.values)}; give a function that "
                "returns probabilities of shape (*shape, num_values)"
            )
        return jnp.moveaxis(jax.nn.softmax(out, axis=0), 0, -1)

    def estimate(self, y: Observation, t: Scalar, m: Summary) -> Point:
        """The revealed values, and the most probable value of each hidden coordinate."""
        del t
        return jnp.where(y[1] > 0, y[0], jnp.asarray(self.values, y.dtype)[jnp.argmax(m, -1)])

    def error(self, m: Summary, x: Point) -> Float[Array, ""]:
        """Cross-entropy of the coordinates' distributions."""
        is_value = x[..., None] == jnp.asarray(self.values, x.dtype)
        # keeps the gradient finite where a probability is 0
        safe = jnp.where(is_value, jnp.maximum(m, jnp.finfo(m.dtype).tiny), 1.0)
        return -jnp.mean(jnp.sum(jnp.log(safe), -1))

    def _check_support(self, values: np.ndarray) -> None:
        if not np.isin(values, self.values).all():
            wrong = values[~np.isin(values, self.values)].flat[0]
            raise ValueError(f"a coordinate is {wrong:g}, but the values are {self.values}")


@final
class BinaryChannel(ObservationProcess):
    """`Y_t = x Z_t` for spins: independent signs `Z_t` of mean `t`, from 0 to 1.

    Parameters
    ----------
    shape
        Number of spins, or their shape.

    Raises
    ------
    ValueError
        A size is below 1.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> process = BinaryChannel(3)
    >>> process.observe(jax.random.key(0), jnp.array([1.0, -1.0, 1.0]), 1.0).tolist()
    [1.0, -1.0, 1.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...]):
        self.shape = as_shape(shape)

    @property
    def last_time(self) -> float:
        """1."""
        return 1.0

    def observe(self, rng_key: RngKey, x: Point, t: Scalar) -> Observation:
        """`x` times independent signs of mean `t`."""
        return jnp.where(jax.random.uniform(rng_key, x.shape, x.dtype) < (1 + t) / 2, x, -x)

    def log_likelihood(self, y: Observation, x: Point, t: Scalar) -> Float[Array, ""]:
        """`sum log((1 + t x y) / 2)`."""
        return jnp.sum(jnp.log1p(t * x * y))

    def start(self, rng_key: RngKey) -> Observation:
        """Independent signs of mean 0."""
        return jnp.where(jax.random.bernoulli(rng_key, 0.5, self.shape), 1.0, -1.0)

    def rate(self, y: Observation, t: Scalar, m: Summary) -> Float[Array, "..."]:
        """Rate at which coordinates flip at a time in (0, 1)."""
        return (1 + t**2) / (2 * t * (1 - t**2)) - y * m / (1 - t**2)

    def step(
        self, rng_key: RngKey, y: Observation, t: Scalar, dt: Scalar, m: Summary
    ) -> Observation:
        """Each coordinate is drawn from its distribution given `y` and its posterior mean `m`.

        Exact for one coordinate; the coordinates are drawn independently given the past.
        """
        is_up = jax.random.uniform(rng_key, y.shape, y.dtype) < self.probability(y, t, dt, m)
        return jnp.where(is_up, 1.0, -1.0)

    def probability(self, y: Observation, t: Scalar, dt: Scalar, m: Summary) -> Float[Array, "..."]:
        """Probability that a coordinate of `Y_{t + dt}` is 1, given `Y_t = y`."""
        later = t + dt

        def given(x: float) -> Array:
            """`P(y' = 1 | y, x) P(x | y)`."""
            # at t = 1 the case x != y has probability 0; avoids 0 / 0
            known = jnp.maximum(1 + t * x * y, jnp.finfo(y.dtype).tiny)
            return (1 + m * x) / 2 * (1 + later * x) * (1 + t / later * y) / (2 * known)

        return given(1.0) + given(-1.0)

    def features(self, y: Observation, t: Scalar, data: Moments) -> tuple[Array, Array]:
        """`y`, and half the log odds that an observed spin is correct."""
        del data
        return y, _log_odds(t, y.dtype) / 2

    def link(self, out: Array, y: Observation, t: Scalar, data: Moments) -> Summary:
        """`tanh` of half the log odds of `y` alone plus the output."""
        del data
        return jnp.tanh((y * _log_odds(t, y.dtype) + out) / 2)

    def estimate(self, y: Observation, t: Scalar, m: Summary) -> Point:
        """The last observation at time 1; before, the more probable sign."""
        return jnp.where(t >= 1, y, jnp.where(m >= 0, 1.0, -1.0))

    def error(self, m: Summary, x: Point) -> Float[Array, ""]:
        """Cross-entropy of `P(x) = (1 + m x) / 2`."""
        likely = jnp.maximum((1 + m * x) / 2, jnp.finfo(m.dtype).tiny)
        return -jnp.mean(jnp.log(likely))

    def _check_support(self, values: np.ndarray) -> None:
        if not np.isin(values, (-1.0, 1.0)).all():
            wrong = values[~np.isin(values, (-1.0, 1.0))].flat[0]
            raise ValueError(f"a spin is {wrong:g}, but must be -1 or 1")
