"""Random walk Metropolis: `x' ~ N(x, eps^2 P)`, accepted with probability min(1, p(x') / p(x)).

The optimal acceptance rate in high dimensions is .234, at `eps = 2.38 / sqrt(d)` if `P` is the
target's covariance (Roberts, Gelman and Gilks 1997, doi:10.1214/aoap/1034625254).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from numpyro_score.kernels import metropolis
from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind
from numpyro_score.kernels.metropolis import MetropolisInfo, MetropolisState, init
from numpyro_score.kernels.proposals import gaussian_random_walk
from numpyro_score.preconditioner import InverseMassMatrix
from numpyro_score.types import LogDensityFn, RngKey, Scalar, Temperature

if TYPE_CHECKING:
    import blackjax

TARGET_ACCEPTANCE_RATE = 0.234


def optimal_step_size(dim: int) -> float:
    """Optimal `eps` for a Gaussian of covariance `P` in `dim` dimensions."""
    return 2.38 / dim**0.5


def build_kernel() -> Callable[..., tuple[MetropolisState, MetropolisInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix)`."""
    metropolis_kernel = metropolis.build_kernel()

    def kernel(
        rng_key: RngKey,
        state: MetropolisState,
        logdensity_fn: LogDensityFn,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        temperature: Temperature = 1.0,
    ) -> tuple[MetropolisState, MetropolisInfo]:
        proposal = gaussian_random_walk(step_size, inverse_mass_matrix)
        return metropolis_kernel(rng_key, state, logdensity_fn, proposal, temperature)

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix = None,
    temperature: Temperature = 1.0,
) -> "blackjax.SamplingAlgorithm":
    """Random walk Metropolis with a Gaussian proposal.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized.
    step_size
        `eps > 0`: standard deviation of the move in units of the square root of `P`.
    inverse_mass_matrix
        `P`, shape `(dim,)` or `(dim, dim)`; None for the identity.
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
    >>> algorithm = random_walk(lambda x: -0.5 * jnp.sum(x**2), step_size=1.0)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    >>> state.position.shape, info.is_accepted.shape
    ((2,), ())
    """
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "temperature": temperature,
    }
    return bind(build_kernel(), init, logdensity_fn, parameters)


random_walk = MarkovKernel(as_top_level_api, init, build_kernel)
