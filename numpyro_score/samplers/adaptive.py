"""The probability flow by adaptive solvers of Diffrax.

The flow: Song et al. 2021, arXiv:2011.13456, section 4.3. The solvers: Kidger 2021,
arXiv:2202.02435.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.extras import extra
from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.steps import Count, Event, Memory, Row, Score, Steps, append
from numpyro_score.samplers.stochastic import Times
from numpyro_score.types import Scalar

if TYPE_CHECKING:
    import diffrax

MAX_STEPS = 16_384


class Tolerance(NamedTuple):
    """Tolerances and solver of an ordinary differential equation.

    Attributes
    ----------
    rtol, atol
        Relative and absolute tolerance of a step's error.
    solver
        An explicit Runge-Kutta method of Diffrax; None for `diffrax.Tsit5()`.
    max_steps
        Largest number of steps; more are an error.

    Examples
    --------
    >>> import diffrax
    >>> from functools import partial
    >>> fine = Tolerance(rtol=1e-7, atol=1e-7, solver=diffrax.Dopri5())
    >>> method = partial(adaptive, tolerance=fine)  # for probability_flow(..., method=method)
    >>> method.keywords["tolerance"].rtol
    1e-07
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    solver: "diffrax.AbstractERK | None" = None
    max_steps: int = MAX_STEPS

    def integrate(
        self, velocity: Callable[[Any, Any, Any], Any], y: Any, start: Scalar, end: Scalar
    ) -> tuple[Any, Int[Array, ""]]:
        """The solution at `end` from `y` at `start`, and the number of velocity calls."""
        with extra("ode", "diffrax", "adaptive solvers of the probability flow need"):
            import diffrax

        solver = diffrax.Tsit5() if self.solver is None else self.solver
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            solver,
            start,
            end,
            None,
            y,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            max_steps=self.max_steps,
        )
        tableau = solver.tableau
        assert isinstance(tableau, diffrax.ButcherTableau)  # of every explicit method
        # FSAL: the first stage of a step is the last stage of the step before
        known = int(tableau.fsal)
        each = tableau.num_stages - known
        calls = known + each * solution.stats["num_steps"]
        return jax.tree.map(lambda a: a[-1], solution.ys), jnp.asarray(calls, jnp.int32)


def check_tolerance(tolerance: Tolerance) -> None:
    """Check that tolerances are positive and that the solver's evaluations can be counted.

    Raises
    ------
    ValueError
        A tolerance is not above 0.
    TypeError
        The solver is not an explicit Runge-Kutta method of Diffrax.
    """
    with extra("ode", "diffrax", "adaptive solvers of the probability flow need"):
        import diffrax

    if not isinstance(tolerance.solver, diffrax.AbstractERK | None):
        raise TypeError(
            f"the solver is a {type(tolerance.solver).__name__}; an explicit Runge-Kutta method of "
            "Diffrax is needed, such as diffrax.Tsit5(), Dopri5() or Bosh3()"
        )
    if not (tolerance.rtol > 0 and tolerance.atol > 0):
        raise ValueError(
            f"rtol = {tolerance.rtol:g} and atol = {tolerance.atol:g}; both must be above 0, such "
            "as 1e-5 in float32 and 1e-8 in float64"
        )


@final
class AdaptiveSteps(Steps):
    """Steps that a solver of Diffrax divides according to its tolerances.

    Parameters
    ----------
    time, next_time
        Ends of each step.
    noise
        The process.
    tolerance
        Tolerances and solver.
    denoises
        Which rows replace x by `E[x_0 | x]`.
    """

    time: Row
    next_time: Row
    noise: NoiseProcess
    tolerance: Tolerance
    denoises: Bool[Array, "*steps"]

    @property
    def num_noises(self) -> int:
        """None."""
        return 0

    @property
    def evaluations(self) -> int | None:
        """None: the solver chooses them."""
        return None

    def count(self, memory: Memory, num_made: Count) -> Count:
        """The count in the memory."""
        del num_made
        return memory

    def remember(self, x: Event) -> Int[Array, ""]:
        """The number of score calls: 0 so far."""
        del x
        return jnp.zeros((), jnp.int32)

    def advance(
        self, score: Score, x: Event, memory: Memory, z: Event | None
    ) -> tuple[Event, Memory]:
        """Integrate from the start to the end of the row, or denoise."""

        def velocity(t: Float[Array, ""], x: Event, args: object) -> Event:
            return self.noise.probability_flow_drift(x, t, score(x, t))

        start, end = self.time.astype(x.dtype), self.next_time.astype(x.dtype)

        def integrate() -> tuple[Event, Int[Array, ""]]:
            return self.tolerance.integrate(velocity, x, start, end)

        def denoise() -> tuple[Event, Int[Array, ""]]:
            point = self.noise.denoised(x, start, score(x, start))
            return point.astype(x.dtype), jnp.ones((), jnp.int32)

        x, calls = jax.lax.cond(self.denoises, denoise, integrate)
        return x, memory + calls

    def then_denoise(self, noise: NoiseProcess) -> "AdaptiveSteps":
        """One more row, which denoises."""
        t = self.next_time[-1]
        return append(self, AdaptiveSteps(t, t, noise, self.tolerance, jnp.ones((), bool)))


def adaptive(
    noise: NoiseProcess, times: Times, *, tolerance: Tolerance | None = None
) -> AdaptiveSteps:
    """Adaptive solvers of Diffrax between the grid's times; set a tolerance by `functools.partial`.

    Parameters
    ----------
    noise
        The process.
    times
        `(num_steps + 1,)`, decreasing, as returned by a grid.
    tolerance
        Tolerances and solver; by default `Tolerance()`.

    Raises
    ------
    ValueError
        A tolerance is not above 0.
    TypeError
        The solver is not an explicit Runge-Kutta method.

    Examples
    --------
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.samplers import edm_times
    >>> noise = VE(sigma_min=0.1, sigma_max=10.0)
    >>> steps = adaptive(noise, edm_times(noise, 20))
    >>> steps.evaluations, steps.is_random
    (None, False)
    """
    tolerance = Tolerance() if tolerance is None else tolerance
    check_tolerance(tolerance)
    denoises = jnp.zeros(len(times) - 1, bool)
    return AdaptiveSteps(times[:-1], times[1:], noise, tolerance, denoises)
