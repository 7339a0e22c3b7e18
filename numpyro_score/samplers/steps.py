"""Steps of finite-time samplers: the interface, and the linear step that most methods use.

`Steps` is a pytree whose arrays have one row for each step. `advance` is the transition of one row.
It takes the noise as an argument, so that a step can be tested as a formula.

The memory is any pytree that a method carries from step to step, or None.

The samplers are those of Song et al. 2021, arXiv:2011.13456.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from numpyro_score.noise import NoiseProcess
from numpyro_score.types import Scalar

Event = Float[Array, "..."]
Memory = Any
Count = int | Int[Array, ""]
Row = Float[Array, "*steps"]
"""One number for each step; a scalar in a single row."""
Score = Callable[[Event, Scalar], Event]


class Steps(eqx.Module):
    """All steps of a sampler, one row each; the interface.

    Attributes
    ----------
    time
        Time at which each step starts.
    next_time
        Time at which it ends.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import ancestral, edm_times
    >>> noise = VE(sigma_min=0.1, sigma_max=10.0)
    >>> steps = ancestral(noise, edm_times(noise, 20))
    >>> isinstance(steps, Steps), steps.time.shape, steps.num_noises
    (True, (20,), 1)
    """

    time: eqx.AbstractVar[Row]
    next_time: eqx.AbstractVar[Row]

    @property
    @abstractmethod
    def num_noises(self) -> int:
        """Number of standard normal arrays like x that a step needs; 0 if it is deterministic."""

    @property
    def is_random(self) -> bool:
        """Whether a step needs noise."""
        return self.num_noises > 0

    @property
    @abstractmethod
    def evaluations(self) -> int | None:
        """Calls of the score in a step; None if the step chooses them adaptively."""

    @abstractmethod
    def remember(self, x: Event) -> Memory:
        """The memory before the first step."""

    @abstractmethod
    def advance(
        self, score: Score, x: Event, memory: Memory, z: Event | None
    ) -> tuple[Event, Memory]:
        """One step, for a single row: new point and new memory.

        `z` is standard normal noise of the shape of x, with a leading axis if a step needs several.
        """

    @abstractmethod
    def count(self, memory: Memory, num_made: Count) -> Count:
        """Calls of the score in the first `num_made` steps, which ended with this memory."""

    @abstractmethod
    def then_denoise(self, noise: NoiseProcess) -> "Steps":
        """The same steps followed by one that replaces x by `E[x_0 | x]` at the last time."""


class Recall(NamedTuple):
    """Coefficients of the denoised points in a two-step method.

    Attributes
    ----------
    previous
        Coefficient of the previous denoised point in the step.
    position, score
        Coefficients of x and score in the current denoised point: `1 / alpha`, `sigma^2 / alpha`.
    """

    previous: Row
    position: Row
    score: Row


@final
class LinearSteps(Steps):
    """`x' = a x + b score(x, t) + c D_previous + e z`: one evaluation of the score.

    Parameters
    ----------
    time, next_time
        Times at which each step starts and ends.
    position, score
        Coefficients `a` and `b`.
    noise
        Coefficient `e`; None for a deterministic method.
    recall
        Coefficients of a two-step method; None for a one-step method.

    Examples
    --------
    A custom method, Euler steps of the probability flow in t:

    >>> import jax
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import probability_flow
    >>> from numpyro_score.scores import target_score
    >>> from numpyro_score.targets import two_modes
    >>> def euler(noise, times):
    ...     start, length = times[:-1], times[:-1] - times[1:]
    ...     f, g2 = noise.drift_coefficient(start), noise.squared_diffusion(start)
    ...     return LinearSteps(start, times[1:], position=1 - f * length, score=g2 * length / 2)
    >>> score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    >>> flow = probability_flow(score, score.noise, (2,), num_steps=50, method=euler)
    >>> flow.sample(jax.random.key(0), 100).shape
    (100, 2)
    """

    time: Row
    next_time: Row
    position: Row
    score: Row
    noise: Row | None = None
    recall: Recall | None = None

    @property
    def num_noises(self) -> int:
        """One, unless the method is deterministic."""
        return int(self.noise is not None)

    @property
    def evaluations(self) -> int:
        """One."""
        return 1

    def count(self, memory: Memory, num_made: Count) -> Count:
        """One for each step."""
        del memory
        return num_made

    def remember(self, x: Event) -> Event | None:
        """Zeros for a two-step method, whose first step does not use the memory; else None."""
        return None if self.recall is None else jnp.zeros_like(x)

    def advance(
        self, score: Score, x: Event, memory: Memory, z: Event | None
    ) -> tuple[Event, Memory]:
        """One step."""
        row: LinearSteps = jax.tree.map(lambda a: a.astype(x.dtype), self)
        s = score(x, row.time)
        new = row.position * x + row.score * s
        if row.noise is not None and z is not None:
            new = new + row.noise * z
        if row.recall is not None and memory is not None:
            new = new + row.recall.previous * memory
            memory = row.recall.position * x + row.recall.score * s
        return new, memory

    def then_denoise(self, noise: NoiseProcess) -> "LinearSteps":
        """One more step, `(x + sigma^2 score) / alpha`."""
        t = self.next_time[-1]
        alpha, variance, zero = noise.alpha(t), noise.variance(t), jnp.zeros_like(t)
        recall = None if self.recall is None else Recall(zero, zero, zero)
        random = None if self.noise is None else zero
        return append(self, LinearSteps(t, t, 1 / alpha, variance / alpha, random, recall))


def append[S: Steps](steps: S, row: S) -> S:
    """Steps with one more row."""

    def join(a: Any, b: Any) -> Any:
        return jnp.append(a, b.astype(a.dtype)) if eqx.is_array(a) else a

    return jax.tree.map(join, steps, row)
