"""Underdamped Langevin dynamics without accept/reject, by the OBABO splitting: **biased**.

The chain has a velocity. In whitened coordinates `u`, `x = P^(1/2) u`, it follows

    du = v dt,    dv = grad log p dt - gamma v dt + sqrt(2 gamma T) dW,

whose stationary distribution is `p^(1/T)` for `u` and `N(0, T)` for `v`. A step of length
`h = sqrt(2 eps)` is a half step of friction and noise (O), a half kick by the gradient (B), a move
(A), a half kick and a half step of friction and noise (Bussi and Parrinello 2007,
doi:10.1103/PhysRevE.75.056707; Leimkuhler and Matthews 2013, doi:10.1093/amrx/abs010):

    O: v <- c v + sqrt(T (1 - c^2)) z,  c = exp(-gamma h / 2)
    B: v <- v + h / 2 P^(1/2)^T grad log p(x)
    A: x <- x + h P^(1/2) v

On a Gaussian whose precision in whitened coordinates is `A`, the stationary distribution of the
discrete chain is Gaussian, with covariance `T A^-1 (I - eps / 2 A)^-1` of `u` and `T I` of `v`,
independent of each other and whatever the friction: BAB conserves the energy that belongs to it,
and O leaves `N(0, T)` unchanged. It is that of the unadjusted Langevin algorithm at the same
`eps`, to which the chain tends as `gamma` grows. With little friction it moves ballistically
instead of diffusing, and needs fewer steps for the same bias.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_positive
from numpyro_score.kernels import langevin
from numpyro_score.kernels.api import MarkovKernel, WarmupKernel
from numpyro_score.kernels.base import bind
from numpyro_score.kernels.langevin import LangevinState, langevin_step, logdensity_and_drift
from numpyro_score.kernels.metropolis import MetropolisInfo, accept_reject, temperature_at
from numpyro_score.preconditioner import (
    InverseMassMatrix,
    as_preconditioner,
    scale,
    scale_transpose,
)
from numpyro_score.types import LogDensityFn, Position, RngKey, Scalar, ScoreFn, Temperature

if TYPE_CHECKING:
    import blackjax

FRICTION = 1.0
"""Default friction, for coordinates of unit scale: critical damping is at twice the frequency.

It is that of MEADS too, and also the default of `ghmc`."""


class UnderdampedState(NamedTuple):
    """State of a chain with a velocity.

    Attributes
    ----------
    position, logdensity, logdensity_grad, step
        As in `LangevinState`.
    velocity
        `(dim,)`, in whitened coordinates.
    """

    position: Position
    logdensity: Float[Array, ""]
    logdensity_grad: Position
    step: Int[Array, ""]
    velocity: Float[Array, " dim"]


def init(
    position: Position, logdensity_fn: LogDensityFn | None, score_fn: ScoreFn | None = None
) -> UnderdampedState:
    """State of a chain that starts at rest at `position`.

    Raises
    ------
    ValueError, TypeError
        If the log density is no scalar, the position holds integers, the score has another shape
        than the position, or neither function is given.
    """
    state = langevin.init(position, logdensity_fn, score_fn)
    return UnderdampedState(*state, jnp.zeros_like(ravel_pytree(position)[0]))


def _relax(
    rng_key: RngKey, velocity: Float[Array, " dim"], decay: Scalar, temperature: Scalar
) -> Float[Array, " dim"]:
    """The exact solution of friction and noise, which leaves `N(0, T)` unchanged."""
    noise = jax.random.normal(rng_key, velocity.shape, velocity.dtype)
    return decay * velocity + jnp.sqrt(temperature * (1 - decay**2)) * noise


def build_kernel() -> Callable[..., tuple[UnderdampedState, MetropolisInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix, ...)`."""

    def kernel(
        rng_key: RngKey,
        state: UnderdampedState,
        logdensity_fn: LogDensityFn | None,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        friction: Scalar = FRICTION,
        score_fn: ScoreFn | None = None,
        temperature: Temperature = 1.0,
    ) -> tuple[UnderdampedState, MetropolisInfo]:
        key_first, key_last, key_accept = jax.random.split(rng_key, 3)
        preconditioner = as_preconditioner(inverse_mass_matrix)
        now = temperature_at(temperature, state.step)
        length = jnp.sqrt(2 * step_size)
        decay = jnp.exp(-friction * length / 2)
        x, unravel = ravel_pytree(state.position)

        def kick(velocity: Array, grad: Position) -> Array:
            slope = scale_transpose(preconditioner, ravel_pytree(grad)[0])
            return velocity + length / 2 * slope

        relaxed = _relax(key_first, state.velocity, decay, now)
        velocity = kick(relaxed, state.logdensity_grad)
        position = unravel(x + length * scale(preconditioner, velocity))
        logdensity, grad = logdensity_and_drift(logdensity_fn, score_fn)(position)
        velocity = _relax(key_last, kick(velocity, grad), decay, now)
        step = state.step + 1
        zero = jnp.zeros((), x.dtype)
        return accept_reject(
            key_accept,
            # a chain that cannot go on turns back
            state._replace(step=step, velocity=-relaxed),
            UnderdampedState(position, logdensity, grad, step, velocity),
            log_ratio=zero,
            logdensity=zero if logdensity_fn is None else logdensity,
            is_adjusted=False,
            is_valid=jnp.all(jnp.isfinite(ravel_pytree((grad, velocity))[0])),
        )

    return kernel


def build_adjusted_kernel() -> Callable[..., tuple[UnderdampedState, MetropolisInfo]]:
    """MALA over the same state, which draws a new velocity: with it warmup learns `P`."""

    def kernel(
        rng_key: RngKey,
        state: UnderdampedState,
        logdensity_fn: LogDensityFn,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        temperature: Temperature = 1.0,
    ) -> tuple[UnderdampedState, MetropolisInfo]:
        key_velocity, key_step = jax.random.split(rng_key)
        *moving, _ = state
        new, info = langevin_step(
            key_step,
            LangevinState(*moving),
            logdensity_fn,
            drift_fn=None,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            temperature=temperature,
            is_adjusted=True,
        )
        now = temperature_at(temperature, state.step)
        return UnderdampedState(*new, _relax(key_velocity, state.velocity, 0.0, now)), info

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn | None = None,
    step_size: Scalar = 0.1,
    inverse_mass_matrix: InverseMassMatrix = None,
    friction: Scalar = FRICTION,
    score_fn: ScoreFn | None = None,
    temperature: Temperature = 1.0,
) -> "blackjax.SamplingAlgorithm":
    """Underdamped Langevin dynamics, **biased**: its stationary distribution is not the target.

    The bias falls with `eps`, and is that of `ula` at the same `eps`: variance
    `1 / (1 - eps / 2)` on a unit Gaussian. The chain diverges where `eps` times the largest
    curvature of the whitened target exceeds 2. A move to a position where the log density or the
    score is not finite is not made, and counted as divergent.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized; None where only a score is known.
    step_size
        `eps > 0`; a step lasts `sqrt(2 eps)`, which is the step size of Hamiltonian Monte Carlo.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity.
    friction
        `gamma > 0`, per unit of time of the whitened target: small for long straight moves, large
        for the diffusion of `ula`.
    score_fn
        Position -> gradient of the log density, in place of the gradient of `logdensity_fn`.
    temperature
        A number, or a function of the number of steps taken; T samples `p^(1/T)` up to the bias,
        and 0 ascends with momentum to a mode.

    Raises
    ------
    ValueError
        If neither function is given, step size or friction is not above 0, or `P` is not a valid
        inverse mass matrix.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> algorithm = underdamped_langevin(lambda x: -0.5 * jnp.sum(x**2), step_size=0.1)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    >>> state.position.shape, float(info.acceptance_rate)
    ((2,), 1.0)
    """
    check_friction(friction)
    logdensity_and_drift(logdensity_fn, score_fn)
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "friction": friction,
        "score_fn": score_fn,
        "temperature": temperature,
    }
    return bind(build_kernel(), init, logdensity_fn, parameters)


def check_friction(friction: Scalar) -> None:
    """Check that a friction is above 0 and finite, unless it is traced.

    Raises
    ------
    ValueError
        If it is not.
    """
    check_positive("friction", friction, hint="1 is the default, for coordinates of unit scale.")


underdamped_langevin = MarkovKernel(as_top_level_api, init, build_kernel)
adjusted = WarmupKernel(init, build_adjusted_kernel)
