"""Generalised Hamiltonian Monte Carlo in NumPyro's protocol."""

from collections.abc import Callable
from typing import Any, Unpack

from numpyro.infer.initialization import init_to_uniform

from numpyro_score.infer.markov import markov
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.warmup import WarmupOptions, check_options
from numpyro_score.kernels.generalized import check_slice_drift, ghmc
from numpyro_score.kernels.signature import algorithm_of
from numpyro_score.kernels.underdamped import check_friction
from numpyro_score.types import LogDensityFn


class GHMC(NumPyroKernel):
    """Generalised Hamiltonian Monte Carlo: persistent velocity, one gradient per step; exact.

    Moves go on in one direction over many steps, as trajectories do, and every step is a draw
    (Horowitz 1991, doi:10.1016/0370-2693(91)90812-5; Neal 2020, arXiv:2001.11950). Warmup learns
    step size, preconditioner and friction from all chains; the friction by the rule of MEADS
    (Hoffman and Sountsov 2022, PMLR 151), one over the root of the largest variance in
    whitened coordinates.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three.
    friction
        Friction `gamma` per unit of time of the whitened target; by default learned.
    slice_drift
        Shift per step of the uniform variable that decides on acceptance (`delta` in Neal 2020);
        by default as in MEADS.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    warmup
        Options of the warmup, by name, described in `numpyro_score.infer.WarmupOptions`:
        `step_size` (of the leapfrog integrator), `inverse_mass_matrix`, `adapt_step_size`,
        `adapt_mass_matrix`, `dense_mass`, `target_accept_prob`, `restart_stuck_chains`.

    Raises
    ------
    ValueError
        If `friction` or `slice_drift` is not above 0.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    >>> mcmc = MCMC(
    ...     GHMC(model),
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
        friction: float | None = None,
        slice_drift: float | None = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
        **warmup: Unpack[WarmupOptions],
    ) -> None:
        check_options(type(self), warmup)
        parameters = {}
        if friction is not None:
            check_friction(friction)
            parameters["friction"] = friction
        if slice_drift is not None:
            check_slice_drift(slice_drift)
            parameters["slice_drift"] = slice_drift
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            markov(algorithm_of(ghmc, parameters), **warmup),
        )
