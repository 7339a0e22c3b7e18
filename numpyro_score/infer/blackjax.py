"""Any BlackJAX sampling algorithm in NumPyro's protocol."""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from numpyro.infer.initialization import init_to_uniform

from numpyro_score.infer.markov import markov
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.warmup import WarmupOptions, check_options
from numpyro_score.kernels.api import KernelApi
from numpyro_score.kernels.signature import algorithm_of
from numpyro_score.types import LogDensityFn


class BlackJAXKernel(NumPyroKernel):
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
        Whether the algorithm leaves the target invariant, which is shown with the results. Known
        for the kernels of BlackJAX and of this package; has to be given for any other.
    num_grad
        Gradients that every step evaluates, for the cost; by default what is known of BlackJAX's
        kernels, what the kernel reports (`num_integration_steps`), else 1 where it has gradients.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    warmup
        Options of the warmup, by name, described in `numpyro_score.infer.WarmupOptions`:
        `step_size`, `inverse_mass_matrix`, `adapt_step_size`, `adapt_mass_matrix`, `dense_mass`,
        `target_accept_prob`, `restart_stuck_chains`.

    Raises
    ------
    ValueError, TypeError
        If the algorithm lacks a parameter, is given an unknown one, reports no acceptance rate
        while its step size is to be adapted, or if it is not known whether it is exact.

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
        exact: bool | None = None,
        num_grad: int | None = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
        **warmup: Unpack[WarmupOptions],
    ) -> None:
        check_options(type(self), warmup)
        if not isinstance(algorithm, KernelApi):
            raise TypeError(
                f"algorithm must be a blackjax.GenerateSamplingAPI such as blackjax.hmc, but is a "
                f"{type(algorithm).__name__}; give the algorithm itself, not what it returns."
            )
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            markov(
                algorithm_of(algorithm, dict(parameters or {}), is_exact=exact, num_grad=num_grad),
                **warmup,
            ),
        )
