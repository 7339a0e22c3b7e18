"""The probability flow by Diffrax: steps as short as the tolerances ask, and densities along it.

Along the flow `dx/dt = v(x, t)` the log density changes by the divergence of v,

    log p_s(x_s) = log p_1(x_1) + int_s^1 div v(x_t, t) dt

(Chen et al. 2018, arXiv:1806.07366; for diffusions Song et al. 2021, arXiv:2011.13456, appendix D).
The divergence is the exact trace here: as many derivatives of the score as there are dimensions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.steps import Event, Row, Score, Steps
from numpyro_score.samplers.stochastic import Times
from numpyro_score.types import Scalar

MAX_STEPS = 16_384


class Tolerance(NamedTuple):
    """How an ordinary differential equation is solved.

    Attributes
    ----------
    rtol, atol
        Largest error of a step, relative and absolute.
    solver
        One of Diffrax's with an error estimate.
    max_steps
        Most steps before it is an error.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    solver: diffrax.AbstractSolver = diffrax.Tsit5()
    max_steps: int = MAX_STEPS

    def integrate(
        self, velocity: Callable[[Any, Any, Any], Any], y: Any, start: Scalar, end: Scalar
    ) -> Any:
        """The value at `end` of what is `y` at `start`."""
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            self.solver,
            start,
            end,
            None,
            y,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            max_steps=self.max_steps,
        )
        return jax.tree.map(lambda a: a[-1], solution.ys)


def check_tolerance(tolerance: Tolerance) -> None:
    """Refuse tolerances that are not above 0.

    Raises
    ------
    ValueError
        If one is not.
    """
    if not (tolerance.rtol > 0 and tolerance.atol > 0):
        raise ValueError(
            f"rtol = {tolerance.rtol:g} and atol = {tolerance.atol:g}; both must be above 0, such "
            "as 1e-5 in float32 and 1e-8 in float64"
        )


@final
class AdaptiveSteps(Steps):
    """Steps that Diffrax divides as its tolerances ask.

    Parameters
    ----------
    time, next_time
        Ends of each step.
    noise
        The process.
    tolerance
        How to solve.
    """

    time: Row
    next_time: Row
    noise: NoiseProcess
    tolerance: Tolerance

    @property
    def is_random(self) -> bool:
        """No."""
        return False

    @property
    def evaluations(self) -> int:
        """0: the solver decides."""
        return 0

    def remember(self, x: Event) -> Event | None:
        """Nothing."""
        del x
        return None

    def advance(
        self, score: Score, x: Event, memory: Event | None, z: Event | None
    ) -> tuple[Event, Event | None]:
        """Integrate from the row's one time to the other."""

        def velocity(t: Float[Array, ""], x: Event, args: object) -> Event:
            return self.noise.probability_flow_drift(x, t, score(x, t))

        start, end = self.time.astype(x.dtype), self.next_time.astype(x.dtype)
        return self.tolerance.integrate(velocity, x, start, end), memory

    def then_denoise(self, noise: NoiseProcess) -> NoReturn:
        """Not there: an adaptive solver goes as near to t = 0 as the grid says.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            "denoise=True has no step in an adaptive method; let the grid end nearer to 0, or use "
            "heun, dpm_solver or ddim"
        )


def adaptive(
    noise: NoiseProcess, times: Times, *, tolerance: Tolerance | None = None
) -> AdaptiveSteps:
    """Diffrax's adaptive solvers between the grid's times; `functools.partial` for a tolerance.

    Raises
    ------
    ValueError
        If a tolerance is not above 0.
    """
    tolerance = Tolerance() if tolerance is None else tolerance
    check_tolerance(tolerance)
    return AdaptiveSteps(times[:-1], times[1:], noise, tolerance)


def divergence(field: Callable[[Event], Event], x: Event) -> tuple[Event, Float[Array, ""]]:
    """A vector field and the exact trace of its derivative at one point."""
    flat = x.reshape(-1)

    def of_flat(flat: Array) -> Array:
        return field(flat.reshape(x.shape)).reshape(-1)

    value, push = jax.linearize(of_flat, flat)
    columns = jax.vmap(push)(jnp.eye(flat.size, dtype=x.dtype))
    return value.reshape(x.shape), jnp.trace(columns)


@eqx.filter_jit
def flow_log_prob(
    score: Score,
    noise: NoiseProcess,
    tolerance: Tolerance,
    x: Event,
    time: Scalar,
    start_mean: Event,
    start_sd: Event,
) -> Float[Array, ""]:
    """Log density at one point of the flow's law at `time`, started from a Gaussian at t = 1."""

    def velocity(t: Array, y: tuple[Event, Array], args: object) -> tuple[Event, Array]:
        def score_at(x: Event) -> Event:
            return score(x, t)

        s, trace = divergence(score_at, y[0])
        rate = noise.drift_coefficient(t) * x.size - noise.squared_diffusion(t) * trace / 2
        return noise.probability_flow_drift(y[0], t, s), rate.astype(x.dtype)

    begin, end = jnp.asarray(time, x.dtype), jnp.ones((), x.dtype)
    last, change = tolerance.integrate(velocity, (x, jnp.zeros((), x.dtype)), begin, end)
    terms = jax.scipy.stats.norm.logpdf(last, start_mean, start_sd)
    return jnp.sum(terms) + change
