"""Steps of the probability flow, `dx/dt = f x - g^2 score / 2`, in either direction of time.

In `y = x / alpha` and `rho = sigma / alpha` the flow is `dy/drho = e`, with `e = -sigma score` the
predicted noise in x. Its solutions are straight lines if the data are one point, for which all
methods are exact (Karras et al. 2022, arXiv:2206.00364; Song, Meng and Ermon 2021,
arXiv:2010.02502).

    DDIM (eta = 0)    y' = y + (rho' - rho) e, Euler's step; weak order 1
    Heun              the mean of `e` at both ends; order 2, two calls of the score
    DPM-Solver++ 2M   two-step exponential integrator; order 2, one call

DPM-Solver++: Lu et al. 2022, arXiv:2211.01095. With `eta > 0` DDIM's steps are random; `eta = 1`
gives the ancestral step.
"""

from typing import final

import jax
import jax.numpy as jnp

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.steps import (
    Count,
    Event,
    LinearSteps,
    Memory,
    Row,
    Score,
    Steps,
    append,
)
from numpyro_score.samplers.stochastic import Times, levels, two_step
from numpyro_score.types import Scalar


def ddim(noise: NoiseProcess, times: Times, *, eta: float = 0.0) -> LinearSteps:
    """DDIM steps; use `functools.partial(ddim, eta=...)` for random ones.

    Parameters
    ----------
    noise
        The process.
    times
        `(num_steps + 1,)`, decreasing, as returned by a grid.
    eta
        From 0, deterministic steps, to 1, ancestral steps.

    Raises
    ------
    ValueError
        Unless 0 <= eta <= 1.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import edm_times
    >>> noise = VE(sigma_min=0.1, sigma_max=10.0)
    >>> steps = ddim(noise, edm_times(noise, 20))
    >>> steps.evaluations, steps.is_random
    (1, False)
    >>> ddim(noise, edm_times(noise, 20), eta=1.0).is_random
    True
    """
    if not 0 <= eta <= 1:
        raise ValueError(
            f"eta is {eta:g} but must lie between 0, the probability flow, and 1, ancestral steps"
        )
    knots = levels(noise, times)
    variance = eta**2 * knots.next_sigma**2 * -jnp.expm1(-2 * knots.advance)
    kept = jnp.sqrt(knots.next_sigma**2 - variance)
    a = knots.next_alpha / knots.alpha
    return LinearSteps(
        knots.time,
        knots.next_time,
        position=a,
        score=knots.sigma * (a * knots.sigma - kept),
        noise=jnp.sqrt(variance) if eta > 0 else None,
    )


def dpm_solver(noise: NoiseProcess, times: Times) -> LinearSteps:
    """DPM-Solver++ 2M; order 2.

    Parameters
    ----------
    noise
        The process.
    times
        `(num_steps + 1,)`, decreasing, as returned by a grid.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import edm_times
    >>> noise = VE(sigma_min=0.1, sigma_max=10.0)
    >>> steps = dpm_solver(noise, edm_times(noise, 20))
    >>> steps.evaluations, steps.is_random
    (1, False)
    """
    knots = levels(noise, times)
    return two_step(
        knots,
        position=knots.next_sigma / knots.sigma,
        denoised=-knots.next_alpha * jnp.expm1(-knots.advance),
        noise=None,
    )


@final
class HeunSteps(Steps):
    """Heun steps in `sigma / alpha`.

    Parameters
    ----------
    time, next_time
        Ends of each step.
    alpha, next_alpha, sigma, next_sigma
        Signal and noise there.
    change
        Change of `sigma / alpha`.
    weight
        Weight of the second evaluation, one half.
    """

    time: Row
    next_time: Row
    alpha: Row
    next_alpha: Row
    sigma: Row
    next_sigma: Row
    change: Row
    weight: Row

    @property
    def num_noises(self) -> int:
        """None."""
        return 0

    @property
    def evaluations(self) -> int:
        """Two."""
        return 2

    def count(self, memory: Memory, num_made: Count) -> Count:
        """Two for each step."""
        del memory
        return 2 * num_made

    def remember(self, x: Event) -> Memory:
        """Nothing."""
        del x
        return None

    def advance(
        self, score: Score, x: Event, memory: Memory, z: Event | None
    ) -> tuple[Event, Memory]:
        """One step."""
        row: HeunSteps = jax.tree.map(lambda a: a.astype(x.dtype), self)
        y = x / row.alpha
        first = -row.sigma * score(x, row.time)
        ahead = row.next_alpha * (y + row.change * first)
        second = -row.next_sigma * score(ahead, row.next_time)
        slope = (1 - row.weight) * first + row.weight * second
        return row.next_alpha * (y + row.change * slope), memory

    def then_denoise(self, noise: NoiseProcess) -> "HeunSteps":
        """One more step: an Euler step to noise 0."""
        t = self.next_time[-1]
        alpha, sigma = noise.alpha(t), noise.sigma(t)
        # the second evaluation, of weight 0, is at the same time: at noise 0 the score may be
        # unbounded
        row = HeunSteps(
            t, t, alpha, jnp.ones_like(t), sigma, sigma, -sigma / alpha, jnp.zeros_like(t)
        )
        return append(self, row)


def heun(noise: NoiseProcess, times: Times) -> HeunSteps:
    """Heun steps; order 2.

    Parameters
    ----------
    noise
        The process.
    times
        `(num_steps + 1,)`, decreasing, as returned by a grid.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import edm_times
    >>> noise = VE(sigma_min=0.1, sigma_max=10.0)
    >>> steps = heun(noise, edm_times(noise, 20))
    >>> steps.evaluations, steps.is_random
    (2, False)
    """
    knots = levels(noise, times)
    change = knots.next_sigma / knots.next_alpha - knots.sigma / knots.alpha
    weight = jnp.full_like(change, 0.5)
    return HeunSteps(*knots[:6], change, weight)


def heun_step(score: Score, noise: NoiseProcess, x: Event, t: Scalar, next_t: Scalar) -> Event:
    """One Heun step of the flow, of one point, between two times that may be traced."""
    row = jax.tree.map(lambda a: a[0], heun(noise, jnp.stack([t, next_t])))
    return row.advance(score, x, None, None)[0]
