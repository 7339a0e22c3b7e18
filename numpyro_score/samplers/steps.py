"""What one step of a finite-time sampler is, and the step that most of them share.

A plan is a pytree whose arrays have one row for each step. `advance` is the pure transition of one
row: it gets the noise instead of drawing it, so that a step can be tested as a formula.

A row's memory is whatever pytree the method carries from step to step, None for none.

The form is that of the samplers of Song et al. 2021, arXiv:2011.13456.
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
    """The interface of a plan.

    Attributes
    ----------
    time
        When each step starts.
    next_time
        When it ends.

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
        """Standard normal arrays like x that a step takes; 0 for a deterministic one."""

    @property
    def is_random(self) -> bool:
        """Whether a step takes noise."""
        return self.num_noises > 0

    @property
    @abstractmethod
    def evaluations(self) -> int | None:
        """Calls of the score in a step; None where the step decides."""

    @abstractmethod
    def remember(self, x: Event) -> Memory:
        """What to carry into the first step."""

    @abstractmethod
    def advance(
        self, score: Score, x: Event, memory: Memory, z: Event | None
    ) -> tuple[Event, Memory]:
        """Step a single row on: new point and new memory.

        `z` is standard normal noise like x, behind one more axis if there are several arrays of it.
        """

    @abstractmethod
    def count(self, memory: Memory, num_made: Count) -> Count:
        """Calls of the score in the `num_made` steps that led to this memory."""

    @abstractmethod
    def then_denoise(self, noise: NoiseProcess) -> "Steps":
        """The same plan with one step more: from its last time to `E[x_0 | x]` there."""


class Recall(NamedTuple):
    """How a two-step method uses the last denoised point, and gets the present one.

    Attributes
    ----------
    previous
        Factor of the last denoised point.
    position, score
        Factors of x and score in the present one: `1 / alpha` and `sigma^2 / alpha`.
    """

    previous: Row
    position: Row
    score: Row


@final
class LinearSteps(Steps):
    """`x' = a x + b score(x, t) + c D_previous + e z`: one evaluation, and all else is numbers.

    Parameters
    ----------
    time, next_time
        Start and end of each step.
    position, score
        Factors `a` and `b`.
    noise
        Factor `e`; None for a deterministic method.
    recall
        The memory of a two-step method; None for one step.

    Examples
    --------
    A method of one's own, Euler's steps of the probability flow in t:

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
        """One, where there is a factor of noise."""
        return int(self.noise is not None)

    @property
    def evaluations(self) -> int:
        """One."""
        return 1

    def count(self, memory: Memory, num_made: Count) -> Count:
        """One a step."""
        del memory
        return num_made

    def remember(self, x: Event) -> Event | None:
        """Zeros where there is memory: the first step has no use for it."""
        return None if self.recall is None else jnp.zeros_like(x)

    def advance(
        self, score: Score, x: Event, memory: Memory, z: Event | None
    ) -> tuple[Event, Memory]:
        """Step one row on."""
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
        """One more row, `(x + sigma^2 score) / alpha`."""
        t = self.next_time[-1]
        alpha, variance, zero = noise.alpha(t), noise.variance(t), jnp.zeros_like(t)
        recall = None if self.recall is None else Recall(zero, zero, zero)
        random = None if self.noise is None else zero
        return append(self, LinearSteps(t, t, 1 / alpha, variance / alpha, random, recall))


def append[S: Steps](steps: S, row: S) -> S:
    """A plan with one row more."""

    def join(a: Any, b: Any) -> Any:
        return jnp.append(a, b.astype(a.dtype)) if eqx.is_array(a) else a

    return jax.tree.map(join, steps, row)
