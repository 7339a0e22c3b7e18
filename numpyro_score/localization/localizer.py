"""Draws by localization: the observation process, simulated from no to full information.

    Y_{t + dt} from (Y_t, m(Y_t, t)),    x = estimate(Y_T, T, m(Y_T, T))

(Montanari 2023, arXiv:2305.10690). Every draw is one independent run. Draws are approximate: the
posterior mean is held constant during a step, it may be learned or estimated, and the last time is
finite.
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
    """Draws, and the quantity of which they are draws.

    Attributes
    ----------
    draws
        `(num_samples, *shape)`.
    of
        "x", or "A x" if the observations do not determine `x`.

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


class LocalizationPath(NamedTuple):
    """Observations and posterior summaries at all times.

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
    >>> path = plan.trajectory(jax.random.key(0), 5)
    >>> path.times.shape, path.observations.shape, path.summaries.shape
    ((51,), (5, 51, 1), (5, 51, 1))
    """

    times: Float[np.ndarray, " knots"]
    observations: np.ndarray
    summaries: np.ndarray


@final
class Localizer(eqx.Module):
    """A sampler by localization; made by `localization`.

    Parameters
    ----------
    process
        The observations.
    mean
        The posterior mean, with a state.
    times
        Times `(num_steps + 1,)`.

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
        """Number of steps; the posterior mean is evaluated once more at the end."""
        return len(self.times) - 1

    def run(self, rng_key: RngKey) -> Point:
        """One draw; a pure function."""
        return self._walk(rng_key)[0]

    def draw(self, rng_key: RngKey) -> tuple[Point, Int[Array, ""]]:
        """One draw, and the number of log density evaluations; a pure function.

        A posterior mean that is a function counts as one evaluation.
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
            Number of draws, at least 1.
        batch_size
            Number of draws at a time, which bounds the memory on the device.
        progress
            Whether to show a progress bar.

        Raises
        ------
        ValueError, TypeError
            A number is not a whole number of at least 1.
        """
        draws = draw_in_batches(
            partial(_draw, self, rng_key),
            self.process.shape,
            num_samples,
            batch_size,
            progress=progress,
        )
        return Localized(draws, self.process.localizes)

    def trajectory(self, rng_key: RngKey, num_samples: int) -> LocalizationPath:
        """The same draws as `sample` with their paths, for plots and tests."""
        observations, summaries = _draw_paths(self, rng_key, jnp.arange(num_samples))
        return LocalizationPath(
            np.asarray(self.times), np.asarray(observations), np.asarray(summaries)
        )

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
        path = jnp.concatenate([ys, y[None]]), jnp.concatenate([ms, m[None]])
        return self.process.estimate(y, last, m), path


@eqx.filter_jit
def _draw(localizer: Localizer, rng_key: RngKey, which: Array) -> Array:
    return jax.vmap(lambda index: localizer.run(jax.random.fold_in(rng_key, index)))(which)


@eqx.filter_jit
def _draw_paths(localizer: Localizer, rng_key: RngKey, which: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda index: localizer._walk(jax.random.fold_in(rng_key, index))[1])(which)


@final
class _Stateless(eqx.Module):
    """A function `m(y, t)` as a `RunningMean` without state."""

    fn: MeanFn
    process: ObservationProcess

    def start(self, rng_key: RngKey, t: Scalar) -> tuple[Observation, None]:
        """One step from time 0, where the posterior is the target."""
        key_start, key_step = jax.random.split(rng_key)
        y = self.process.start(key_start)
        begin = jnp.zeros((), y.dtype)
        moved = self.process.step(key_step, y, begin, jnp.asarray(t, y.dtype), self.fn(y, begin))
        return jnp.where(t > 0, moved, y), None

    def update(
        self, rng_key: RngKey, memory: Any, y: Observation, t: Scalar
    ) -> tuple[Summary, Any]:
        """The function's value."""
        del rng_key
        return self.fn(y, t), memory


def _first(mean: RunningMean, rng_key: RngKey, y: Observation, t: Scalar) -> Array:
    """The posterior summary at the first time."""
    memory = None if isinstance(mean, _Stateless) else mean.start(rng_key, t)[1]
    return mean.update(rng_key, memory, y, t)[0]


def localization(process: ObservationProcess, mean: MeanFn | RunningMean, times: Any) -> Localizer:
    """A sampler of the distribution with the given posterior mean.

    Parameters
    ----------
    process
        The observation process, such as `IsotropicGaussian`.
    mean
        `m(y, t)` of one observation and a scalar time -> array like `x` (for `Erasure` the
        distribution of each coordinate), or a `RunningMean`.
    times
        Increasing times, from 0 or a time with almost no information to one with almost all.

    Raises
    ------
    TypeError
        The mean cannot be called.
    ValueError
        The times are not valid, or the mean has the wrong shape.

    Examples
    --------
    Two point masses at 1 and -4, with weights .8 and .2:

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
        running = _Stateless(mean, process)
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
            f"the mean returns shape {got.shape} for one observation of shape {y.shape}; "
            f"{wanted.shape} is needed (the sampler applies jax.vmap itself)"
        )
    return Localizer(process, running, grid)
