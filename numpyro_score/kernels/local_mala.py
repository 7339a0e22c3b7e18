"""MALA with a local step size: one leapfrog step of a length chosen for every move.

In whitened coordinates the step has length `h = sqrt(2 eps)` and a fresh velocity, as that of
`mala` (Biron-Lattes et al. 2024, arXiv:2310.16782); `local_step.py` says how `h` is chosen, and
why the chain stays exact.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from numpyro_score.kernels.api import MarkovKernel, WarmupKernel
from numpyro_score.kernels.base import bind
from numpyro_score.kernels.langevin import LangevinState, init, logdensity_and_drift
from numpyro_score.kernels.local_step import LocalStepInfo, Point, local_step
from numpyro_score.preconditioner import (
    InverseMassMatrix,
    as_preconditioner,
    scale,
    scale_transpose,
)
from numpyro_score.types import DriftFn, LogDensityFn, RngKey, Scalar

if TYPE_CHECKING:
    import blackjax


def build_kernel(
    *, reports_first: bool = False
) -> Callable[..., tuple[LangevinState, LocalStepInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix)`.

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
        drift_fn: DriftFn | None = None,
    ) -> tuple[LangevinState, LocalStepInfo]:
        key_velocity, key_step = jax.random.split(rng_key)
        preconditioner = as_preconditioner(inverse_mass_matrix)
        x, unravel = ravel_pytree(state.position)
        length = jnp.asarray(jnp.sqrt(2 * step_size), x.dtype)
        evaluate = logdensity_and_drift(logdensity_fn, drift_fn)

        def move(start: Point, exponent: Array) -> tuple[Point, Array]:
            h = length * jnp.exp2(exponent.astype(x.dtype))
            half = start.velocity + h / 2 * scale_transpose(preconditioner, start.grad)
            position = start.position + h * scale(preconditioner, half)
            logdensity, grad = evaluate(unravel(position))
            grad = ravel_pytree(grad)[0]
            velocity = half + h / 2 * scale_transpose(preconditioner, grad)
            change = 0.5 * jnp.sum((velocity - start.velocity) * (velocity + start.velocity))
            log_ratio = logdensity - start.logdensity - change
            return Point(position, velocity, logdensity, grad), log_ratio

        return local_step(
            key_step,
            state,
            jax.random.normal(key_velocity, x.shape, x.dtype),
            move,
            lambda exponent: 0.5 * (length * jnp.exp2(exponent)) ** 2,
            reports_first=reports_first,
        )

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix = None,
    drift_fn: DriftFn | None = None,
) -> "blackjax.SamplingAlgorithm":
    """MALA with a step size chosen at every move.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized.
    step_size
        `eps > 0` from which every search starts, units of time.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity.
    drift_fn
        Position -> vector field that replaces the gradient. The chain stays exact; give the same
        function to `init`.

    Raises
    ------
    ValueError
        The step size is not above 0, or `P` has a wrong shape or is not positive definite.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> algorithm = local_mala(lambda x: -0.5 * jnp.sum(x**2), step_size=0.5)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    >>> state.position.shape, int(info.num_integration_steps) >= 2
    ((2,), True)
    """
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "drift_fn": drift_fn,
    }
    return bind(build_kernel(), init, logdensity_fn, parameters)


local_mala = MarkovKernel(as_top_level_api, init, build_kernel)
warming = WarmupKernel(init, partial(build_kernel, reports_first=True))
"""The same kernel in warmup."""
