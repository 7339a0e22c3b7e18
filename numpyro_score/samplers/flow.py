"""The probability flow: deterministic draws, their inverse, and densities.

The flow has the same distribution as the diffusion at every time, and is a bijection: a draw is a
function of its initial noise, `encode` returns the noise, and densities follow by the change of
variables. Song et al. 2021, arXiv:2011.13456, section 4.3.
"""

from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_whole
from numpyro_score.divergence import estimated_divergence, exact_divergence
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.adaptive import Tolerance, check_tolerance
from numpyro_score.samplers.agreement import levels_of
from numpyro_score.samplers.density import (
    LogProbEstimate,
    Trace,
    flow_log_prob,
)
from numpyro_score.samplers.deterministic import heun
from numpyro_score.samplers.grids import TimeGrid, edm_times
from numpyro_score.samplers.reverse_sde import plan
from numpyro_score.samplers.sampler import DiffusionSampler
from numpyro_score.samplers.start import start_moments
from numpyro_score.samplers.steps import Event, Score
from numpyro_score.samplers.stochastic import Method
from numpyro_score.samplers.walk import DiffusionInfo, DiffusionState, Trajectory
from numpyro_score.types import RngKey


@final
class FlowSampler(eqx.Module):
    """The probability flow in both directions; made by `probability_flow`.

    Parameters
    ----------
    decoder
        The sampler from noise to data.
    encoder
        The same steps from data to noise; None if steps are random.
    noise
        The process.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import probability_flow
    >>> from numpyro_score.scores import target_score
    >>> from numpyro_score.targets import two_modes
    >>> score = target_score(two_modes(), VE(sigma_min=0.05, sigma_max=20.0))
    >>> flow = probability_flow(score, score.noise, (2,), num_steps=20)
    >>> draws = flow.sample(jax.random.key(0), 500)
    >>> code = flow.encode(jax.numpy.asarray(draws[0]))  # the noise that this draw started from
    >>> draws.shape, code.shape, flow.evaluations
    ((500, 2), (2,), 40)
    """

    decoder: DiffusionSampler
    encoder: DiffusionSampler | None
    noise: NoiseProcess

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return self.decoder.num_steps

    @property
    def evaluations(self) -> int | None:
        """Calls of the score for one draw; None for an adaptive method: see `draw`."""
        return self.decoder.evaluations

    @property
    def end(self) -> Float[Array, ""]:
        """The time of the draws, near 0, at which densities and `encode` are defined."""
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

    def disagreements(self, draws: Float[np.ndarray, "draw ..."]) -> list[str]:
        """What is wrong with independent draws; see `DiffusionSampler.disagreements`."""
        return self.decoder.disagreements(draws)

    def draw(self, rng_key: RngKey) -> tuple[Event, Int[Array, ""]]:
        """One draw, and the number of score calls; a pure function."""
        return self.decoder.draw(rng_key)

    def trajectory(self, rng_key: RngKey, num_samples: int) -> Trajectory:
        """Draws with their paths; see `DiffusionSampler.trajectory`."""
        return self.decoder.trajectory(rng_key, num_samples)

    def init(self, position: Event, rng_key: RngKey | None = None) -> DiffusionState:
        """The state at t = 1, as BlackJAX's `init`."""
        return self.decoder.init(position, rng_key)

    def step(self, rng_key: RngKey, state: DiffusionState) -> tuple[DiffusionState, DiffusionInfo]:
        """One step, as BlackJAX's `step`."""
        return self.decoder.step(rng_key, state)

    def decode(self, x: Event) -> Event:
        """The data point that one noise point at t = 1 flows to."""
        self._check_point(x)
        return _flow(self._deterministic("decode", self.decoder), x)

    def encode(self, x: Event) -> Event:
        """The noise at t = 1 that flows to one data point.

        Raises
        ------
        ValueError
            The steps are random, or the point has another shape.
        """
        self._check_point(x)
        return _flow(self._deterministic("encode", self.encoder), x)

    def log_prob(self, x: Event, *, rtol: float = 1e-5, atol: float = 1e-5) -> Float[Array, ""]:
        """Log density of the flow's distribution at time `end`, at one point.

        It is integrated by Diffrax to a tolerance, with the exact divergence, for every method
        of the draws.

        Raises
        ------
        ValueError
            The point has another shape, or a tolerance is not above 0.
        """
        return self._log_prob(x, Tolerance(rtol, atol), exact_divergence)[0]

    def log_prob_and_count(
        self, x: Event, *, rtol: float = 1e-5, atol: float = 1e-5
    ) -> tuple[Float[Array, ""], Int[Array, ""]]:
        """`log_prob` and its cost in calls of the score, each derivative counted as one more."""
        log_prob, calls = self._log_prob(x, Tolerance(rtol, atol), exact_divergence)
        return log_prob, calls * (1 + x.size)

    def approximate_log_prob(
        self,
        rng_key: RngKey,
        x: Event,
        *,
        num_probes: int = 8,
        rtol: float = 1e-5,
        atol: float = 1e-5,
    ) -> LogProbEstimate:
        """Hutchinson's estimate of `log_prob`, at a cost that does not grow with the dimension.

        Parameters
        ----------
        rng_key
            For the random signs, which are the same at all times.
        x
            One point.
        num_probes
            Number of vectors of signs, at least 2.
        rtol, atol
            As for `log_prob`.

        Raises
        ------
        ValueError, TypeError
            As `log_prob`, or there are fewer than 2 probes.
        """
        check_whole("num_probes", num_probes, 2)
        signs = jax.random.rademacher(rng_key, (num_probes, x.size), x.dtype)
        trace = jax.tree_util.Partial(estimated_divergence, signs)
        values, _ = self._log_prob(x, Tolerance(rtol, atol), trace)
        return LogProbEstimate(values.mean(), values.std(ddof=1) / num_probes**0.5)

    def _log_prob(self, x: Event, tolerance: Tolerance, trace: Trace) -> tuple[Array, Array]:
        self._check_point(x)
        check_tolerance(tolerance)
        flow, start = self.decoder, (self.decoder.start_mean, self.decoder.start_sd)
        return flow_log_prob(flow.score, self.noise, tolerance, x, self.end, *start, trace)

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
    data_mean: Any = None,
    data_sd: Any = None,
) -> FlowSampler:
    """The probability flow of a score: draws, codes and log densities.

    Parameters
    ----------
    score
        `score(x, t)` of one point and a scalar time.
    noise
        The process whose distributions the score is of.
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
        Mean and sd of the data, for the Gaussian to start from; by default those of the score
        (trained models and mixtures have them), or 0 if it has none.

    Raises
    ------
    ValueError
        If there is no step, the grid does not fall or ends without noise, or shapes do not match.
    TypeError
        If an argument is not of its kind.

    Warns
    -----
    UserWarning
        If the noise does not suit the scale of the data; and when drawn, if the draws do not agree
        with the score.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> score = lambda x, t: -(x - 3.0) / (1.0 + noise.variance(t))  # of N(3, 1) data
    >>> flow = probability_flow(score, noise, (1,), num_steps=20, data_mean=3.0, data_sd=1.0)
    >>> draws = flow.sample(jax.random.key(0), 2000)
    >>> round(float(draws.mean())), round(float(draws.std()))
    (3, 1)
    >>> bool(jnp.allclose(flow.decode(flow.encode(jnp.ones(1))), 1.0, atol=0.01))
    True
    """
    steps = plan(noise, num_steps, method, grid)
    mean, sd = start_moments(score, noise, steps.next_time[-1], data_mean, data_sd)
    size = tuple(shape)
    encoder = None
    if not steps.is_random:
        times = jnp.append(steps.time, steps.next_time[-1])
        encoder = DiffusionSampler(score, method(noise, times[::-1]), size, mean, sd)
    levels = levels_of(score, noise, steps.next_time[-1], data_sd, denoises=denoise)
    if denoise:
        steps = steps.then_denoise(noise)
    return FlowSampler(DiffusionSampler(score, steps, size, mean, sd, levels), encoder, noise)
