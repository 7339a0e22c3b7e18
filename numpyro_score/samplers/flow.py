"""Draws, codes and densities by the probability flow: the diffusion's laws without its noise.

The flow is a bijection: a draw is a function of its starting noise, `encode` gives the noise back,
and densities follow by the change of variables. Song et al. 2021, arXiv:2011.13456, section 4.3.
"""

from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.adaptive import Tolerance, check_tolerance, flow_log_prob
from numpyro_score.samplers.deterministic import heun
from numpyro_score.samplers.grids import TimeGrid, edm_times
from numpyro_score.samplers.reverse_sde import plan
from numpyro_score.samplers.sampler import (
    DiffusionInfo,
    DiffusionSampler,
    DiffusionState,
    Trajectory,
)
from numpyro_score.samplers.steps import Event, Score
from numpyro_score.samplers.stochastic import Method
from numpyro_score.types import RngKey


@final
class FlowSampler(eqx.Module):
    """The probability flow both ways; made by `probability_flow`.

    Parameters
    ----------
    decoder
        The sampler from noise to data.
    encoder
        The same steps from data to noise; None where steps are random.
    noise
        The process.
    """

    decoder: DiffusionSampler
    encoder: DiffusionSampler | None
    noise: NoiseProcess

    @property
    def num_steps(self) -> int:
        """Steps on the way."""
        return self.decoder.num_steps

    @property
    def evaluations(self) -> int:
        """Calls of the score for one draw; 0 where an adaptive method decides."""
        return self.decoder.evaluations

    @property
    def end(self) -> Float[Array, ""]:
        """The time of the draws, near 0; densities and codes are of points of that time."""
        return self.decoder.steps.next_time[-1]

    def sample(
        self,
        rng_key: RngKey,
        num_samples: int,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Float[np.ndarray, "{num_samples} ..."]:
        """Independent draws; see `DiffusionSampler.sample`."""
        return self.decoder.sample(rng_key, num_samples, batch_size=batch_size, progress=progress)

    def trajectory(self, rng_key: RngKey, num_samples: int) -> Trajectory:
        """Draws with all of their way; see `DiffusionSampler.trajectory`."""
        return self.decoder.trajectory(rng_key, num_samples)

    def init(self, position: Event, rng_key: RngKey | None = None) -> DiffusionState:
        """The state at t = 1, BlackJAX's `init`."""
        return self.decoder.init(position, rng_key)

    def step(self, rng_key: RngKey, state: DiffusionState) -> tuple[DiffusionState, DiffusionInfo]:
        """One step on, BlackJAX's `step`."""
        return self.decoder.step(rng_key, state)

    def decode(self, x: Event) -> Event:
        """The data point that a point of noise (one, at t = 1) flows to."""
        self._check_point(x)
        return _flow(self._deterministic("decode", self.decoder), x)

    def encode(self, x: Event) -> Event:
        """The noise, at t = 1, that flows to a data point (one).

        Raises
        ------
        ValueError
            If the steps are random, or the point has another shape.
        """
        self._check_point(x)
        return _flow(self._deterministic("encode", self.encoder), x)

    def log_prob(self, x: Event, *, rtol: float = 1e-5, atol: float = 1e-5) -> Float[Array, ""]:
        """Log density at one point of the flow's law at time `end`.

        By Diffrax to a tolerance, with the exact trace, whatever the method of the draws.

        Raises
        ------
        ValueError
            If the point has another shape, or a tolerance is not above 0.
        """
        self._check_point(x)
        tolerance = Tolerance(rtol, atol)
        check_tolerance(tolerance)
        decoder = self.decoder
        return flow_log_prob(
            decoder.score, self.noise, tolerance, x, self.end, decoder.start_mean, decoder.start_sd
        )

    def _check_point(self, x: Event) -> None:
        if jnp.shape(x) != self.decoder.shape:
            raise ValueError(
                f"the point has shape {jnp.shape(x)} but the flow moves one of shape "
                f"{self.decoder.shape}; use jax.vmap for many"
            )

    def _deterministic(self, name: str, sampler: DiffusionSampler | None) -> DiffusionSampler:
        if sampler is None or sampler.steps.is_random:
            raise ValueError(f"{name} needs steps without noise; use heun, or ddim with eta = 0")
        return sampler


@eqx.filter_jit
def _flow(sampler: DiffusionSampler, x: Event) -> Event:
    return sampler.run(jax.random.key(0), x)  # the steps take no noise


def probability_flow(
    score: Score,
    noise: NoiseProcess,
    shape: Sequence[int],
    *,
    num_steps: int = 20,
    method: Method = heun,
    grid: TimeGrid = edm_times,
    denoise: bool = False,
    data_mean: Any = 0.0,
    data_sd: Any = 0.0,
) -> FlowSampler:
    """The probability flow of a score: draws, codes and log densities.

    Parameters
    ----------
    score
        `score(x, t)` of one point and a scalar time.
    noise
        The process whose laws the score is of.
    shape
        Shape of one point.
    num_steps
        Steps of the method; for `adaptive` the times at which it stops, 1 being enough.
    method
        `heun`, `dpm_solver`, `ddim`, or `adaptive`.
    grid
        `uniform_times`, `quadratic_times`, `edm_times`, or any rule of that form.
    denoise
        Whether draws end with `E[x_0 | x]`; `encode` and `log_prob` are of points before that.
    data_mean, data_sd
        What is known of the data's mean and sd, for the Gaussian to start from.

    Raises
    ------
    ValueError
        If there is no step, the grid does not fall or ends without noise, shapes do not match, or
        an adaptive method is to denoise.
    TypeError
        If an argument is not of its kind.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> score = lambda x, t: -(x - 3.0) / (1.0 + noise.variance(t))  # of N(3, 1) data
    >>> flow = probability_flow(score, noise, (1,), num_steps=20)
    >>> draws = flow.sample(jax.random.key(0), 2000)
    >>> round(float(draws.mean())), round(float(draws.std()))
    (3, 1)
    >>> bool(jnp.allclose(flow.decode(flow.encode(jnp.ones(1))), 1.0, atol=0.01))
    True
    """
    steps = plan(noise, num_steps, method, grid)
    mean, sd = (jnp.asarray(a) for a in noise.prior(jnp.asarray(data_mean), jnp.asarray(data_sd)))
    size = tuple(shape)
    encoder = None
    if not steps.is_random:
        times = jnp.append(steps.time, steps.next_time[-1])
        encoder = DiffusionSampler(score, method(noise, times[::-1]), size, mean, sd)
    if denoise:
        steps = steps.then_denoise(noise)
    return FlowSampler(DiffusionSampler(score, steps, size, mean, sd), encoder, noise)
