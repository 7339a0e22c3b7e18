"""Draws by localization: the observation process run from knowing nothing to knowing all.

    Y_{t + dt} from (Y_t, m(Y_t, t)),    x = estimate(Y_T, T, m(Y_T, T))

(Montanari 2023, arXiv:2305.10690). Every draw is one run, independent of all others. They are
approximate: steps hold the posterior mean still, it may itself be learned or estimated, and the
last time is finite.
"""

from functools import partial
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.localization.base import Observation, ObservationProcess, Point, Summary
from numpyro_score.localization.means import MeanFn, RunningMean
from numpyro_score.localization.times import check_times
from numpyro_score.samplers.batches import draw_in_batches
from numpyro_score.types import RngKey, Scalar


class Localized(NamedTuple):
    """Draws, and what they are of.

    Attributes
    ----------
    draws
        `(num_samples, *shape)`.
    of
        "x", or "A x" where the observations are blind to part of `x`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.localization import (
    ...     IsotropicGaussian,
    ...     WeightedPoints,
    ...     geometric_times,
    ...     localization,
    ... )
    >>> process = IsotropicGaussian(1)
    >>> mean = WeightedPoints(process, jnp.array([[1.0], [-4.0]]))
    >>> plan = localization(process, mean, geometric_times(1e-3, 100.0, 50))
    >>> found = plan.sample(jax.random.key(0), 100)
    >>> found.draws.shape, found.of
    ((100, 1), 'x')
    """

    draws: Float[np.ndarray, "num ..."]
    of: str


class Way(NamedTuple):
    """Observations and what was known at every time.

    Attributes
    ----------
    times
        `(num_steps + 1,)`.
    observations, summaries
        `(num_samples, num_steps + 1, ...)`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.localization import (
    ...     IsotropicGaussian,
    ...     WeightedPoints,
    ...     geometric_times,
    ...     localization,
    ... )
    >>> process = IsotropicGaussian(1)
    >>> mean = WeightedPoints(process, jnp.array([[1.0], [-4.0]]))
    >>> plan = localization(process, mean, geometric_times(1e-3, 100.0, 50))
    >>> way = plan.trajectory(jax.random.key(0), 5)
    >>> way.times.shape, way.observations.shape, way.summaries.shape
    ((51,), (5, 51, 1), (5, 51, 1))
    """

    times: Float[np.ndarray, " knots"]
    observations: np.ndarray
    summaries: np.ndarray


@final
class Localizer(eqx.Module):
    """A plan of localization; made by `localization`.

    Parameters
    ----------
    process
        The observations.
    mean
        What is known at each time, as an object that remembers.
    times
        The grid, `(num_steps + 1,)`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.localization import (
    ...     IsotropicGaussian,
    ...     WeightedPoints,
    ...     geometric_times,
    ...     localization,
    ... )
    >>> process = IsotropicGaussian(1)
    >>> mean = WeightedPoints(process, jnp.array([[1.0], [-4.0]]))
    >>> plan = localization(process, mean, geometric_times(1e-3, 100.0, 50))
    >>> isinstance(plan, Localizer), plan.num_steps, plan.run(jax.random.key(0)).shape
    (True, 50, (1,))
    """

    process: ObservationProcess
    mean: RunningMean
    times: Float[Array, " knots"]

    @property
    def num_steps(self) -> int:
        """Steps on the way; the posterior mean is asked once more, at the end."""
        return len(self.times) - 1

    def run(self, rng_key: RngKey) -> Point:
        """One draw; pure, for `jax.jit` and `jax.vmap`."""
        return self._walk(rng_key)[0]

    def draw(self, rng_key: RngKey) -> tuple[Point, Int[Array, ""]]:
        """One draw, and how often its posterior mean called the log density; pure.

        A posterior mean that is a function counts as one call.
        """
        each = getattr(self.mean, "evaluations_per_time", 1)
        return self.run(rng_key), jnp.asarray(each * len(self.times), jnp.int32)

    def sample(
        self,
        rng_key: RngKey,
        num_samples: int,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Localized:
        """Independent draws, on the host.

        Parameters
        ----------
        rng_key
            One random key; draw i is the same for every batch size, up to rounding.
        num_samples
            How many, at least 1.
        batch_size
            How many at a time: bounds the memory of the device.
        progress
            Whether to show a bar.

        Raises
        ------
        ValueError, TypeError
            If a number is not a whole one above 0.
        """
        draws = draw_in_batches(
            partial(_draw, self, rng_key),
            self.process.shape,
            num_samples,
            batch_size,
            progress=progress,
        )
        return Localized(draws, self.process.localizes)

    def trajectory(self, rng_key: RngKey, num_samples: int) -> Way:
        """The same draws as `sample` with all of their way, for pictures and tests."""
        observations, summaries = _draw_ways(self, rng_key, jnp.arange(num_samples))
        return Way(np.asarray(self.times), np.asarray(observations), np.asarray(summaries))

    def _walk(self, rng_key: RngKey) -> tuple[Point, tuple[Array, Array]]:
        key_start, key_steps = jax.random.split(rng_key)
        last = self.times[-1]
        y, memory = self.mean.start(key_start, self.times[0])

        def step(carry: tuple[Observation, Any], row: tuple) -> tuple[Any, Any]:
            y, memory = carry
            rng_key, t, dt = row
            key_know, key_move = jax.random.split(rng_key)
            m, memory = self.mean.update(key_know, memory, y, t)
            return (self.process.step(key_move, y, t, dt, m), memory), (y, m)

        keys = jax.random.split(key_steps, self.num_steps + 1)
        rows = (keys[:-1], self.times[:-1], jnp.diff(self.times))
        (y, memory), (ys, ms) = jax.lax.scan(step, (y, memory), rows)
        m, _ = self.mean.update(keys[-1], memory, y, last)
        way = jnp.concatenate([ys, y[None]]), jnp.concatenate([ms, m[None]])
        return self.process.estimate(y, last, m), way


@eqx.filter_jit
def _draw(localizer: Localizer, rng_key: RngKey, which: Array) -> Array:
    return jax.vmap(lambda index: localizer.run(jax.random.fold_in(rng_key, index)))(which)


@eqx.filter_jit
def _draw_ways(localizer: Localizer, rng_key: RngKey, which: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda index: localizer._walk(jax.random.fold_in(rng_key, index))[1])(which)


@final
class _Forgetful(eqx.Module):
    """A function `m(y, t)` as a posterior mean that remembers nothing."""

    fn: MeanFn
    process: ObservationProcess

    def start(self, rng_key: RngKey, t: Scalar) -> tuple[Observation, None]:
        """One step from time 0, where nothing is known but the mean."""
        key_start, key_step = jax.random.split(rng_key)
        y = self.process.start(key_start)
        begin = jnp.zeros((), y.dtype)
        moved = self.process.step(key_step, y, begin, jnp.asarray(t, y.dtype), self.fn(y, begin))
        return jnp.where(t > 0, moved, y), None

    def update(
        self, rng_key: RngKey, memory: Any, y: Observation, t: Scalar
    ) -> tuple[Summary, Any]:
        """What the function says."""
        del rng_key
        return self.fn(y, t), memory


def _first(mean: RunningMean, rng_key: RngKey, y: Observation, t: Scalar) -> Array:
    """What is known at the first time."""
    memory = None if isinstance(mean, _Forgetful) else mean.start(rng_key, t)[1]
    return mean.update(rng_key, memory, y, t)[0]


def localization(process: ObservationProcess, mean: MeanFn | RunningMean, times: Any) -> Localizer:
    """Sampler of the law whose posterior mean is known.

    Parameters
    ----------
    process
        The observations: `IsotropicGaussian` and its like.
    mean
        `m(y, t)` of one observation and a scalar time -> array like `x` (for `Erasure` the law of
        each coordinate), or a `RunningMean`.
    times
        Rising, from 0 or where `Y_t` still tells next to nothing, to where it tells nearly all.

    Raises
    ------
    TypeError
        If the mean cannot be called.
    ValueError
        If the times do not suit, or the mean's shape is wrong.

    Examples
    --------
    Two modes, of weight .8 and .2 at 1 and -4:

    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.localization import IsotropicGaussian, WeightedPoints, geometric_times
    >>> process = IsotropicGaussian(1)
    >>> m = WeightedPoints(process, jnp.array([[1.0], [-4.0]]), jnp.log(jnp.array([0.8, 0.2])))
    >>> plan = localization(process, m, geometric_times(1e-3, 100.0, 100))
    >>> draws = plan.sample(jax.random.key(0), 1000).draws
    >>> round(float((draws > 0).mean()), 1)
    0.8
    """
    grid = jnp.asarray(check_times(times, process.last_time), float)
    if isinstance(mean, RunningMean):
        running: RunningMean = mean
    elif callable(mean):
        running = _Forgetful(mean, process)
    else:
        raise TypeError(f"the mean is a {type(mean).__name__}; a callable (y, t) is needed")
    key = jax.eval_shape(lambda: jax.random.key(0))
    y = eqx.filter_eval_shape(process.start, key)
    got = eqx.filter_eval_shape(lambda key, y: _first(running, key, y, grid[0]), key, y)
    points = jax.ShapeDtypeStruct((1, *process.shape), grid.dtype)
    weights = jax.ShapeDtypeStruct((1,), grid.dtype)
    wanted = eqx.filter_eval_shape(process.summarize, points, weights)
    if got.shape != wanted.shape:
        raise ValueError(
            f"the mean returns shape {got.shape} for an observation of shape {y.shape}; "
            f"{wanted.shape} is needed, for one observation (batches are made by jax.vmap inside)"
        )
    return Localizer(process, running, grid)
