"""Steps of the reverse diffusion `dx = (f x - g^2 score) dt + g dW`, run from t = 1 down.

From t to s < t the forward process goes from s to t by `x_t = a x_s + G z`, exactly, with
`a = alpha_t / alpha_s` and `G^2 = sigma_t^2 - a^2 sigma_s^2`. In these terms

    Euler-Maruyama      x' = x - (f x - g^2 score) (t - s) + g sqrt(t - s) z
    reverse diffusion   x' = (2 - a) x + G^2 score + G z
    ancestral           x' = (x + G^2 score) / a + (G sigma_s / sigma_t) z
    DPM-Solver++ 2M     ancestral with the denoised point D extrapolated half a step,
                        D + (D - D_previous) / (2 r), r = last step / this one in log(alpha/sigma)

Reverse diffusion and ancestral: Song et al. 2021, arXiv:2011.13456, appendices E and F (there for
VP and VE; the ancestral step is the mean of `x_s` given `x_t` and the denoised point, with the
variance of `x_s` given both ends, as in DDPM, Ho et al. 2020, arXiv:2006.11239, for every process).
The multistep method: Lu et al. 2022, arXiv:2211.01095. The first three have weak order 1, the last
has 2. A method is any function `(noise, times) -> Steps`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.steps import LinearSteps, Recall, Steps

Times = Float[Array, " knots"]


Method = Callable[[NoiseProcess, Times], Steps]
"""A rule `(noise, times)` -> `Steps`, with one row for each pair of neighbouring times."""


class Levels(NamedTuple):
    """Signal and noise at both ends of each step.

    Attributes
    ----------
    time, next_time
        Ends of the steps.
    alpha, next_alpha
        Signal there.
    sigma, next_sigma
        Noise there.
    advance
        Rise of `log(alpha / sigma)`.
    """

    time: Array
    next_time: Array
    alpha: Array
    next_alpha: Array
    sigma: Array
    next_sigma: Array
    advance: Array


def levels(noise: NoiseProcess, times: Times) -> Levels:
    """Signal and noise at both ends of every step."""
    alpha, sigma = noise.alpha(times), noise.sigma(times)
    advance = jnp.diff(noise.log_snr(times)) / 2
    return Levels(times[:-1], times[1:], alpha[:-1], alpha[1:], sigma[:-1], sigma[1:], advance)


def _forward(knots: Levels) -> tuple[Array, Array]:
    """`a` and `G^2` of each step."""
    # 1 - (a sigma_s / sigma_t)^2, accurate for short steps
    gone = -jnp.expm1(-2 * knots.advance)
    return knots.alpha / knots.next_alpha, knots.sigma**2 * gone


def euler_maruyama(noise: NoiseProcess, times: Times) -> LinearSteps:
    """Euler-Maruyama steps in t; weak order 1.

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
    >>> steps = euler_maruyama(noise, edm_times(noise, 20))
    >>> steps.evaluations, steps.is_random
    (1, True)
    """
    start, end = times[:-1], times[1:]
    f, g2, length = noise.drift_coefficient(start), noise.squared_diffusion(start), start - end
    return LinearSteps(
        start,
        end,
        position=1 - f * length,
        score=g2 * length,
        noise=jnp.sqrt(jnp.maximum(g2 * length, 0)),
    )


def reverse_diffusion(noise: NoiseProcess, times: Times) -> LinearSteps:
    """Steps that mirror the discretisation of the forward process; weak order 1.

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
    >>> steps = reverse_diffusion(noise, edm_times(noise, 20))
    >>> steps.evaluations, steps.is_random
    (1, True)
    """
    knots = levels(noise, times)
    a, g2 = _forward(knots)
    return LinearSteps(knots.time, knots.next_time, position=2 - a, score=g2, noise=jnp.sqrt(g2))


def ancestral(noise: NoiseProcess, times: Times) -> LinearSteps:
    """Ancestral sampling as in DDPM, for any process; weak order 1.

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
    >>> steps = ancestral(noise, edm_times(noise, 20))
    >>> steps.evaluations, steps.is_random
    (1, True)
    """
    knots = levels(noise, times)
    a, g2 = _forward(knots)
    return LinearSteps(
        knots.time,
        knots.next_time,
        position=1 / a,
        score=g2 / a,
        noise=jnp.sqrt(g2) * knots.next_sigma / knots.sigma,
    )


def dpm_solver_sde(noise: NoiseProcess, times: Times) -> LinearSteps:
    """DPM-Solver++ 2M for the SDE: a two-step exponential integrator; weak order 2.

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
    >>> steps = dpm_solver_sde(noise, edm_times(noise, 20))
    >>> steps.evaluations, steps.is_random
    (1, True)
    """
    knots = levels(noise, times)
    decay = jnp.exp(-knots.advance)
    gained = -jnp.expm1(-2 * knots.advance)
    return two_step(
        knots,
        position=knots.next_sigma / knots.sigma * decay,
        denoised=knots.next_alpha * gained,
        noise=knots.next_sigma * jnp.sqrt(gained),
    )


def two_step(knots: Levels, position: Array, denoised: Array, noise: Array | None) -> LinearSteps:
    """`x' = a x + b D_ahead + e z`, with the denoised point extrapolated by half a step.

    The first step has no previous point and uses `D` itself.
    """
    # half the ratio of this step and the last one
    ahead = jnp.append(jnp.zeros(1), knots.advance[1:] / knots.advance[:-1] / 2)
    of_x, of_score = 1 / knots.alpha, knots.sigma**2 / knots.alpha
    present = denoised * (1 + ahead)
    return LinearSteps(
        knots.time,
        knots.next_time,
        position=position + present * of_x,
        score=present * of_score,
        noise=noise,
        recall=Recall(-denoised * ahead, of_x, of_score),
    )
