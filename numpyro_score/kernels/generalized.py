"""Generalised Hamiltonian Monte Carlo (GHMC): one gradient per step, and a persistent velocity.

In whitened coordinates `u`, `x = P^(1/2) u`, the target has a velocity `v` of distribution
`N(0, I)`. A step of length `h`

* refreshes the velocity in part, `v <- sqrt(1 - a) v + sqrt(a) z` with `a = 1 - exp(-2 gamma h)`
  (Horowitz 1991, doi:10.1016/0370-2693(91)90812-5),
* makes one leapfrog step, and accepts it, or stays and reverses the velocity.

Chains would often turn around if rejections were spread evenly. The uniform number that decides on
acceptance is therefore part of the state, and is shifted by a constant, `slice_drift`, in each step
(Neal 2020, arXiv:2001.11950): rejections come together, with long runs of acceptances between them.
The joint distribution of target, `N(0, I)` and the uniform variable is invariant, exactly.

The parts are BlackJAX's: those of `blackjax.ghmc`, whose chain this is where `P` is the identity.
The velocity is kept in whitened coordinates here, so that a chain goes on where warmup changes `P`,
and any `P` will do, a diagonal or a full matrix.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from numpyro_score.checks import check_positive
from numpyro_score.compilation import load_blackjax
from numpyro_score.kernels import langevin
from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind, refusing_infinity
from numpyro_score.kernels.metropolis import MetropolisInfo
from numpyro_score.kernels.underdamped import FRICTION, check_friction
from numpyro_score.preconditioner import (
    InverseMassMatrix,
    Preconditioner,
    as_preconditioner,
    scale,
    scale_transpose,
)
from numpyro_score.types import LogDensityFn, Position, RngKey, Scalar

if TYPE_CHECKING:
    import blackjax

TARGET_ACCEPTANCE_RATE = 0.8
"""Acceptance rate to which the step size is tuned; .7 to .9 differ by a tenth on a Gaussian."""


class GHMCState(NamedTuple):
    """State of a chain with a velocity and a slice variable.

    Attributes
    ----------
    position, logdensity, logdensity_grad, step
        As in `LangevinState`. Step 0 draws velocity and slice variable afresh.
    velocity
        `(dim,)`, in whitened coordinates.
    slice
        Between -1 and 1; a move is accepted if its ratio is above the absolute value.
    """

    position: Position
    logdensity: Float[Array, ""]
    logdensity_grad: Position
    step: Int[Array, ""]
    velocity: Float[Array, " dim"]
    slice: Float[Array, ""]


def initial_step_size(dim: int) -> float:
    """Step from which to start, for a target of covariance `P`."""
    return 1.8 * max(dim, 1) ** -0.25


def init(position: Position, logdensity_fn: LogDensityFn) -> GHMCState:
    """State of a chain that starts at `position`.

    Raises
    ------
    ValueError, TypeError
        If the log density is no scalar, or the position holds integers.
    """
    state = langevin.init(position, logdensity_fn)
    flat = ravel_pytree(position)[0]
    return GHMCState(*state, jnp.zeros_like(flat), jnp.zeros((), flat.dtype))


def leapfrog(
    preconditioner: Preconditioner | None, logdensity_fn: LogDensityFn
) -> Callable[..., Any]:
    """One leapfrog step, of a state whose momentum is the velocity in whitened coordinates."""
    load_blackjax()
    from blackjax.mcmc import integrators

    def kick(
        velocity: Array, grad: Position, step_size: Scalar, coef: float, *_: Any, **__: Any
    ) -> tuple[Array, Position, None]:
        flat, unravel = ravel_pytree(grad)
        velocity = velocity + step_size * coef * scale_transpose(preconditioner, flat)
        return velocity, unravel(scale(preconditioner, velocity)), None

    return integrators.generalized_two_stage_integrator(
        kick,
        integrators.euclidean_position_update_fn(logdensity_fn),
        integrators.velocity_verlet_coefficients,
        format_output_fn=integrators.format_euclidean_state_output,
    )


def kinetic_energy(velocity: Array, position: Position | None = None) -> Array:
    """`|v|^2 / 2`."""
    del position
    return 0.5 * jnp.sum(velocity**2)


def build_kernel() -> Callable[..., tuple[GHMCState, MetropolisInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix, ...)`."""

    def kernel(
        rng_key: RngKey,
        state: GHMCState,
        logdensity_fn: LogDensityFn,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        friction: Scalar = FRICTION,
        slice_drift: Scalar | None = None,
    ) -> tuple[GHMCState, MetropolisInfo]:
        load_blackjax()
        from blackjax.mcmc import ghmc, hmc
        from blackjax.mcmc.integrators import IntegratorState
        from blackjax.mcmc.proposal import nonreversible_slice_sampling

        key_velocity, key_slice = jax.random.split(rng_key)
        dtype = state.velocity.dtype
        step_size = jnp.asarray(step_size, dtype)
        is_first = state.step == 0
        renewed = 1 - jnp.exp(-2 * jnp.asarray(friction, dtype) * step_size)
        drift = renewed / 2 if slice_drift is None else jnp.asarray(slice_drift, dtype)

        velocity = ghmc.update_momentum(
            key_velocity,
            (state.position, state.velocity),
            jnp.where(is_first, 1.0, renewed).astype(dtype),
            lambda key, _: jax.random.normal(key, state.velocity.shape, dtype),
        )
        level = jnp.where(
            is_first,
            jax.random.uniform(key_slice, (), dtype, -1.0, 1.0),
            (state.slice + 1 + drift) % 2 - 1,
        )
        # of 0 the logarithm is -inf, which a move to a density of 0 would satisfy
        level = jnp.where(level == 0, jnp.finfo(dtype).tiny, level)
        propose = hmc.hmc_proposal(
            leapfrog(as_preconditioner(inverse_mass_matrix), refusing_infinity(logdensity_fn)),
            kinetic_energy,
            step_size,
            sample_proposal=nonreversible_slice_sampling,
        )
        start = IntegratorState(state.position, velocity, state.logdensity, state.logdensity_grad)
        new, info, new_level = propose(level, start)
        # accepted: turned around twice; refused: once
        new = hmc.flip_momentum(new)
        # of a refused move of energy +inf BlackJAX's own is NaN
        new_level = jnp.where(info.is_accepted, new_level, level)
        end = info.proposal
        is_outside = end.logdensity == -jnp.inf
        is_number = jnp.isfinite(end.logdensity) & jnp.all(jnp.isfinite(ravel_pytree(end)[0]))
        return (
            GHMCState(
                new.position,
                new.logdensity,
                new.logdensity_grad,
                state.step + 1,
                new.momentum,
                new_level,
            ),
            MetropolisInfo(info.acceptance_rate, info.is_accepted, ~is_outside & ~is_number),
        )

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix = None,
    friction: Scalar = FRICTION,
    slice_drift: Scalar | None = None,
) -> "blackjax.SamplingAlgorithm":
    """Generalised Hamiltonian Monte Carlo with persistent velocity; exact.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized.
    step_size
        Length of a leapfrog step in whitened coordinates, above 0.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity. Best near the target's
        covariance.
    friction
        `gamma`, above 0, per unit of time of the whitened target: a step keeps the share
        `exp(-gamma h)` of the velocity. BlackJAX's `alpha` is `1 - exp(-2 gamma h)`.
    slice_drift
        Shift of the slice variable per step, BlackJAX's `delta`; by default half of
        `alpha`, as in MEADS (Hoffman and Sountsov 2022, PMLR 151).

    Raises
    ------
    ValueError
        The step size, the friction or the drift is not above 0, or `P` has a wrong shape or is not
        positive definite.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> algorithm = ghmc(lambda x: -0.5 * jnp.sum(x**2), step_size=0.5)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    >>> state.position.shape, bool(info.is_accepted)
    ((2,), True)
    """
    check_friction(friction)
    if slice_drift is not None:
        check_slice_drift(slice_drift)
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "friction": friction,
        "slice_drift": slice_drift,
    }
    return bind(build_kernel(), init, logdensity_fn, parameters)


def check_slice_drift(slice_drift: Scalar) -> None:
    """Check a drift of the slice variable, unless it is traced.

    Raises
    ------
    ValueError
        If it is not above 0.
    """
    check_positive("slice_drift", slice_drift, hint="leave it out for half of 1 - exp(-2 g h).")


ghmc = MarkovKernel(as_top_level_api, init, build_kernel)
