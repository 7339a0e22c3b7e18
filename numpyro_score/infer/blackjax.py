"""Any BlackJAX sampling algorithm in NumPyro's protocol."""

from collections.abc import Callable, Mapping
from typing import Any

from numpyro.infer.initialization import init_to_uniform

from numpyro_score.infer.adapter import AdapterKernel
from numpyro_score.infer.algorithm import Algorithm
from numpyro_score.kernels.api import KernelApi
from numpyro_score.types import LogDensityFn


class BlackJAXKernel(AdapterKernel):
    """A `blackjax.GenerateSamplingAPI` as a NumPyro kernel.

    The kernel's signature is read: an argument `step_size` or `inverse_mass_matrix` is learned in
    warmup unless `parameters` fixes it, everything else comes from `parameters`.

    Parameters
    ----------
    algorithm
        `blackjax.hmc`, `blackjax.barker`, `blackjax.mclmc`, ...
    model, potential_fn, logdensity_fn
        What to sample: one of the three.
    parameters
        Further arguments of the algorithm's kernel and `init`, by name.
    exact
        Whether the algorithm leaves the target invariant; False for `mclmc`, `sgld` and others
        without accept/reject. Shown with the results.
    num_grad
        Gradients evaluated a step, for cost; by default the number of integration steps that the
        kernel reports, else 1 where it uses gradients.
    step_size, inverse_mass_matrix, adapt_step_size, adapt_mass_matrix, dense_mass
        As in `numpyro.infer.HMC`.
    target_accept_prob
        Acceptance that the step size is tuned to.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    restart_stuck_chains
        Whether chains left far below the others in warmup restart from another's place.

    Raises
    ------
    ValueError, TypeError
        If the algorithm lacks a parameter, is given an unknown one, or reports no acceptance rate
        while its step size is to be adapted.

    Examples
    --------
    >>> import blackjax, jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    >>> kernel = BlackJAXKernel(blackjax.hmc, model, parameters={"num_integration_steps": 4})
    >>> mcmc = MCMC(kernel, num_warmup=100, num_samples=100, progress_bar=False)
    >>> mcmc.run(jax.random.key(0))
    >>> mcmc.get_samples()["x"].shape
    (100, 2)
    """

    def __init__(
        self,
        algorithm: KernelApi,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        exact: bool = True,
        num_grad: int | None = None,
        step_size: float | None = None,
        inverse_mass_matrix: Any = None,
        adapt_step_size: bool | None = None,
        adapt_mass_matrix: bool | None = None,
        dense_mass: bool = False,
        target_accept_prob: float = 0.8,
        init_strategy: Callable[..., Any] = init_to_uniform,
        restart_stuck_chains: bool = True,
    ) -> None:
        if not isinstance(algorithm, KernelApi):
            raise TypeError(
                f"algorithm must be a blackjax.GenerateSamplingAPI such as blackjax.hmc, but is a "
                f"{type(algorithm).__name__}; give the algorithm itself, not what it returns."
            )
        super().__init__(
            Algorithm(algorithm, dict(parameters or {}), is_exact=exact, num_grad=num_grad),
            model,
            potential_fn,
            logdensity_fn,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            adapt_step_size=adapt_step_size,
            adapt_mass_matrix=adapt_mass_matrix,
            dense_mass=dense_mass,
            target_accept_prob=target_accept_prob,
            init_strategy=init_strategy,
            restart_stuck_chains=restart_stuck_chains,
        )
