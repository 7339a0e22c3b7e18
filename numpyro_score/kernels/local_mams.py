"""MAMS with a local step size: a trajectory with a step size chosen for every move.

The trajectory is that of `mams` (Robnik, Cohn-Gordon and Seljak 2025, arXiv:2503.01707);
`local_step.py` says how its step is chosen, and why the chain stays exact. All trajectories of a
move, there and back, have the same number of steps.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from numpyro_score.compilation import load_blackjax
from numpyro_score.kernels.api import MarkovKernel, WarmupKernel
from numpyro_score.kernels.base import bind
from numpyro_score.kernels.langevin import LangevinState
from numpyro_score.kernels.local_step import LocalStepInfo, Point, local_step
from numpyro_score.kernels.microcanonical import (
    MEAN_NUM_STEPS,
    check_mean_num_steps,
    init,
    integrator,
    num_steps_at,
)
from numpyro_score.preconditioner import InverseMassMatrix, as_preconditioner
from numpyro_score.types import LogDensityFn, RngKey, Scalar

if TYPE_CHECKING:
    import blackjax


def build_kernel(
    *, reports_first: bool = False
) -> Callable[..., tuple[LangevinState, LocalStepInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix, ...)`.

    Parameters
    ----------
    reports_first
        Whether the acceptance rate is that of the first step size tried, by which a warmup finds
        where searches should start.
    """

    def kernel(
        rng_key: RngKey,
        state: LangevinState,
        logdensity_fn: LogDensityFn,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        mean_num_steps: Scalar = MEAN_NUM_STEPS,
    ) -> tuple[LangevinState, LocalStepInfo]:
        load_blackjax()
        from blackjax.mcmc.integrators import IntegratorState

        key_direction, key_step = jax.random.split(rng_key)
        x, unravel = ravel_pytree(state.position)
        num_steps = num_steps_at(state.step, mean_num_steps)
        one_step = integrator(as_preconditioner(inverse_mass_matrix), logdensity_fn)
        first = jnp.asarray(step_size, x.dtype)

        def move(start: Point, exponent: Array) -> tuple[Point, Array]:
            size = first * jnp.exp2(exponent.astype(x.dtype))

            def go_on(_: Array, so_far: tuple[IntegratorState, Array]) -> tuple[Any, Array]:
                point, kinetic = so_far
                point, change = one_step(point, size)
                return point, kinetic + change

            begin = IntegratorState(
                unravel(start.position),
                unravel(start.velocity),
                start.logdensity,
                unravel(start.grad),
            )
            end, kinetic = jax.lax.fori_loop(
                0, num_steps, go_on, (begin, jnp.zeros_like(start.logdensity))
            )
            point = Point(
                ravel_pytree(end.position)[0],
                ravel_pytree(end.momentum)[0],
                end.logdensity,
                ravel_pytree(end.logdensity_grad)[0],
            )
            return point, end.logdensity - start.logdensity - kinetic

        direction = jax.random.normal(key_direction, x.shape, x.dtype)
        return local_step(
            key_step,
            state,
            direction / jnp.linalg.norm(direction),
            move,
            lambda exponent: first * jnp.exp2(exponent),
            steps_per_move=num_steps,
            reports_first=reports_first,
        )

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix = None,
    mean_num_steps: Scalar = MEAN_NUM_STEPS,
) -> "blackjax.SamplingAlgorithm":
    """Metropolis-adjusted microcanonical sampler with a step size chosen at every move.

    Parameters
    ----------
    logdensity_fn, inverse_mass_matrix, mean_num_steps
        As for `mams`.
    step_size
        Length of an integration step from which every search starts, above 0.

    Raises
    ------
    ValueError
        As `mams`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> algorithm = local_mams(lambda x: -0.5 * jnp.sum(x**2), step_size=0.5)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    >>> state.position.shape, int(info.num_integration_steps) >= 8
    ((2,), True)
    """
    check_mean_num_steps(mean_num_steps)
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "mean_num_steps": mean_num_steps,
    }
    return bind(build_kernel(), init, logdensity_fn, parameters)


local_mams = MarkovKernel(as_top_level_api, init, build_kernel)
warming = WarmupKernel(init, partial(build_kernel, reports_first=True))
"""The same kernel in warmup."""
