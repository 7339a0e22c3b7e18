"""Metropolis-adjusted microcanonical sampler (MAMS): long trajectories at constant speed.

In whitened coordinates `u`, `x = P^(1/2) u`, a trajectory has a direction `v`, `|v| = 1`, and turns
towards the gradient of the log density:

    du = v dt,    dv = (I - v v^T) grad log p(u) / (d - 1) dt.

The direction is drawn anew, uniformly, at every step of the kernel; the trajectory is integrated by
the minimal norm scheme of McLachlan, two gradients a step, and its end is accepted or rejected with
the exact ratio (Robnik, Cohn-Gordon and Seljak 2025, arXiv:2503.01707). The kernel is BlackJAX's
`adjusted_mclmc_dynamic`; this file adds a dense preconditioner, by which velocities and gradients
are transformed from and to whitened coordinates.

The number of integration steps follows a quasi-random sequence in the step number. All chains share
it, so that no chain of a batch waits for a longer trajectory of another. Its mean is
`mean_num_steps`, and its largest value `2 mean_num_steps - 1`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.checks import check_positive
from numpyro_score.compilation import load_blackjax
from numpyro_score.kernels import langevin
from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind, refusing_infinity
from numpyro_score.kernels.langevin import LangevinState
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

TARGET_ACCEPTANCE_RATE = 0.9
"""Acceptance rate to which the published sampler is tuned."""

GRADIENTS = 2
"""Gradients of one step of the integrator."""

MEAN_NUM_STEPS = 4.0
"""Default mean number of integration steps."""


class MicrocanonicalInfo(NamedTuple):
    """What happened in one step of the kernel.

    Attributes
    ----------
    acceptance_rate, is_accepted, is_divergent
        As in `MetropolisInfo`, of the end of the trajectory.
    num_integration_steps
        Steps of the integrator, of two gradients each.
    """

    acceptance_rate: Float[Array, ""]
    is_accepted: Bool[Array, ""]
    is_divergent: Bool[Array, ""]
    num_integration_steps: Int[Array, ""]


def initial_step_size(dim: int) -> float:
    """Step from which to start, for a target of covariance `P`: speed is 1, its size `sqrt(d)`."""
    return 0.7 * dim**0.25


def init(position: Position, logdensity_fn: LogDensityFn) -> LangevinState:
    """State of a chain that starts at `position`; `step` is its index in the sequence of lengths.

    Raises
    ------
    ValueError, TypeError
        If the log density is no scalar, the position holds integers, or has one coordinate only.
    """
    dim = ravel_pytree(position)[0].size
    if dim < 2:
        raise ValueError(
            f"the position has {dim} coordinate, but directions need at least two; use MALA."
        )
    return langevin.init(position, logdensity_fn)


def integrator(
    preconditioner: Preconditioner | None, logdensity_fn: LogDensityFn
) -> Callable[..., Any]:
    """One step of McLachlan's scheme in whitened coordinates, of a state in those of the target."""
    load_blackjax()
    from blackjax.mcmc import integrators

    turn = integrators.esh_dynamics_momentum_update_one_step()

    def turn_whitened(direction: Position, grad: Position, *args: Any, **kwargs: Any) -> Any:
        flat, unravel = ravel_pytree(grad)
        slope = unravel(scale_transpose(preconditioner, flat))
        direction, velocity, change = turn(direction, slope, *args, **kwargs)
        moved = unravel(scale(preconditioner, ravel_pytree(velocity)[0]))
        return direction, moved, change

    return integrators.generalized_two_stage_integrator(
        turn_whitened,
        integrators.euclidean_position_update_fn(logdensity_fn),
        integrators.mclachlan_coefficients,
        format_output_fn=integrators.format_isokinetic_state_output,
    )


def num_steps_at(step: Int[Array, ""], mean_num_steps: Scalar) -> Int[Array, ""]:
    """Integration steps of the `step`-th trajectory: `mean_num_steps` on average over the steps."""
    load_blackjax()
    from blackjax.mcmc.adjusted_mclmc_dynamic import trajectory_length

    # where the sequence is at 0 its rule gives no step at all
    return jnp.maximum(trajectory_length(step, mean_num_steps), 1).astype(jnp.int32)


def build_kernel() -> Callable[..., tuple[LangevinState, MicrocanonicalInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix, ...)`."""

    def kernel(
        rng_key: RngKey,
        state: LangevinState,
        logdensity_fn: LogDensityFn,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        mean_num_steps: Scalar = MEAN_NUM_STEPS,
    ) -> tuple[LangevinState, MicrocanonicalInfo]:
        load_blackjax()
        from blackjax.mcmc import adjusted_mclmc_dynamic
        from blackjax.mcmc.dynamic_hmc import DynamicHMCState

        preconditioner = as_preconditioner(inverse_mass_matrix)
        step = adjusted_mclmc_dynamic.build_kernel(
            integration_steps_fn=num_steps_at,
            integrator=lambda logdensity_fn, **_: integrator(preconditioner, logdensity_fn),
            next_random_arg_fn=lambda step: step + 1,
        )
        new, info = step(
            rng_key,
            DynamicHMCState(state.position, state.logdensity, state.logdensity_grad, state.step),
            refusing_infinity(logdensity_fn),
            step_size,
            integration_steps_params=(mean_num_steps,),
        )
        end = info.proposal
        is_outside = end.logdensity == -jnp.inf
        is_number = jnp.isfinite(end.logdensity) & jnp.all(jnp.isfinite(ravel_pytree(end)[0]))
        return LangevinState(*new), MicrocanonicalInfo(
            info.acceptance_rate,
            info.is_accepted,
            ~is_outside & ~is_number,
            info.num_integration_steps,
        )

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix = None,
    mean_num_steps: Scalar = MEAN_NUM_STEPS,
) -> "blackjax.SamplingAlgorithm":
    """Metropolis-adjusted microcanonical sampler.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized, of at least two coordinates.
    step_size
        Length of one integration step in whitened coordinates, above 0; a Gaussian of covariance
        `P` has radius `sqrt(d)` there.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity. Best near the target's
        covariance.
    mean_num_steps
        Mean number of integration steps of a trajectory, at least 1, each of two gradients.

    Raises
    ------
    ValueError
        The step size is not above 0, there are less than one integration step, or `P` has a wrong
        shape or is not positive definite; from `init`, if there is one coordinate only.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> algorithm = mams(lambda x: -0.5 * jnp.sum(x**2), step_size=0.5)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    >>> state.position.shape, int(info.num_integration_steps)
    ((2,), 4)
    """
    check_mean_num_steps(mean_num_steps)
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "mean_num_steps": mean_num_steps,
    }
    return bind(build_kernel(), init, logdensity_fn, parameters)


def check_mean_num_steps(mean_num_steps: Scalar) -> None:
    """Check that a trajectory has at least one step on average, unless the number is traced.

    Raises
    ------
    ValueError
        If it has not.
    """
    check_positive("mean_num_steps", mean_num_steps, hint="1 is the least, 4 the default.")
    if not isinstance(mean_num_steps, jax.core.Tracer) and mean_num_steps < 1:
        raise ValueError(
            f"mean_num_steps is {mean_num_steps}, but a trajectory has at least one step; give 1 "
            "or more."
        )


mams = MarkovKernel(as_top_level_api, init, build_kernel)
