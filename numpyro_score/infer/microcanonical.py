"""The microcanonical kernel in NumPyro's protocol."""

from collections.abc import Callable
from typing import Any, Unpack

from numpyro.infer.initialization import init_to_uniform

from numpyro_score.infer.markov import markov
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.warmup import WarmupOptions, check_options
from numpyro_score.kernels.local_mams import local_mams, warming
from numpyro_score.kernels.microcanonical import check_mean_num_steps, mams
from numpyro_score.kernels.signature import algorithm_of
from numpyro_score.types import LogDensityFn


class MAMS(NumPyroKernel):
    """Metropolis-adjusted microcanonical sampler: long trajectories at constant speed; exact.

    For posteriors that no preconditioner makes isotropic: hierarchical models, latent time series.
    Warmup learns the step size, the preconditioner and the trajectory length from all chains. The
    length maximises the effective sample size per gradient of the slowest coordinate or squared
    coordinate. It works best with many chains.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three, of at least two coordinates.
    mean_num_steps
        Mean number of integration steps of a trajectory, of two gradients each; by default learned.
    local_step_size
        Whether every trajectory chooses its own step size, reversibly, around the one that warmup
        found (`numpyro_score.local_mams`): for funnels and other densities whose scale varies, at
        some four times the gradients a draw.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    warmup
        Options of the warmup, by name, described in `numpyro_score.infer.WarmupOptions`:
        `step_size`, `inverse_mass_matrix`, `adapt_step_size`, `adapt_mass_matrix`, `dense_mass`,
        `target_accept_prob`, `restart_stuck_chains`.

    Raises
    ------
    ValueError
        If `mean_num_steps` is below 1, or, at the start, if there is one coordinate only.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    >>> mcmc = MCMC(
    ...     MAMS(model),
    ...     num_warmup=100,
    ...     num_samples=100,
    ...     num_chains=4,
    ...     chain_method="vectorized",
    ...     progress_bar=False,
    ... )
    >>> mcmc.run(jax.random.key(0))
    >>> mcmc.get_samples()["x"].shape
    (400, 3)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        mean_num_steps: float | None = None,
        local_step_size: bool = False,
        init_strategy: Callable[..., Any] = init_to_uniform,
        **warmup: Unpack[WarmupOptions],
    ) -> None:
        check_options(type(self), warmup)
        parameters = {}
        if mean_num_steps is not None:
            check_mean_num_steps(mean_num_steps)
            parameters["mean_num_steps"] = mean_num_steps
        if local_step_size:
            algorithm = algorithm_of(local_mams, parameters, warmup_api=warming)
        else:
            algorithm = algorithm_of(mams, parameters)
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            markov(algorithm, **warmup),
        )
