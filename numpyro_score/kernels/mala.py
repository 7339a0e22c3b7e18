"""Metropolis-adjusted Langevin algorithm (MALA): a Langevin step with accept/reject.

    x' = x + eps P grad log p(x) + sqrt(2 eps) P^(1/2) z,

followed by Metropolis-Hastings, which makes it exact for any `eps`, any `P` and any drift in place
of the gradient (Roberts and Tweedie 1996, doi:10.2307/3318418; Besag 1994). One step equals one
leapfrog step of Hamiltonian Monte Carlo with mass matrix `P^-1` and step `sqrt(2 eps)`. The optimal
acceptance rate in high dimensions is .574, at `eps = 1.36 d^(-1/3)` if `P` is the covariance of a
Gaussian target (Roberts and Rosenthal 1998, doi:10.1111/1467-9868.00123).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind
from numpyro_score.kernels.langevin import LangevinState, init, langevin_step
from numpyro_score.kernels.metropolis import MetropolisInfo
from numpyro_score.preconditioner import InverseMassMatrix
from numpyro_score.types import DriftFn, LogDensityFn, RngKey, Scalar, Temperature

if TYPE_CHECKING:
    import blackjax

TARGET_ACCEPTANCE_RATE = 0.574


def optimal_step_size(dim: int) -> float:
    """Optimal `eps` for a Gaussian of covariance `P` in `dim` dimensions: `1.65^2 / 2 d^(-1/3)`."""
    return 1.36 * dim ** (-1 / 3)


def build_kernel() -> Callable[..., tuple[LangevinState, MetropolisInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix)`."""

    def kernel(
        rng_key: RngKey,
        state: LangevinState,
        logdensity_fn: LogDensityFn,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        drift_fn: DriftFn | None = None,
        temperature: Temperature = 1.0,
    ) -> tuple[LangevinState, MetropolisInfo]:
        return langevin_step(
            rng_key,
            state,
            logdensity_fn,
            drift_fn=drift_fn,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            temperature=temperature,
            is_adjusted=True,
        )

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix = None,
    drift_fn: DriftFn | None = None,
    temperature: Temperature = 1.0,
) -> "blackjax.SamplingAlgorithm":
    """Metropolis-adjusted Langevin algorithm.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized.
    step_size
        `eps > 0`, units of time; `eta^2 / 2` of a leapfrog step `eta`.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity. Best near the target's
        covariance.
    drift_fn
        Position -> vector field that replaces the gradient, such as a learned score. The chain
        stays exact; give the same function to `init`.
    temperature
        A number, or a function of the number of steps taken; T samples `p^(1/T)`, and T decreasing
        to 0 is simulated annealing.

    Raises
    ------
    ValueError
        The step size is not above 0, or `P` has a wrong shape or is not positive definite.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> algorithm = mala(lambda x: -0.5 * jnp.sum(x**2), step_size=0.5)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    >>> state.position.shape, bool(info.acceptance_rate > 0.5)
    ((2,), True)
    """
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "drift_fn": drift_fn,
        "temperature": temperature,
    }
    return bind(build_kernel(), init, logdensity_fn, parameters)


mala = MarkovKernel(as_top_level_api, init, build_kernel)
