"""Langevin kernels in NumPyro's protocol: exact and unadjusted."""

from collections.abc import Callable
from typing import Any, Unpack

from numpyro.infer.initialization import init_to_uniform

from numpyro_score.infer.markov import markov
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.unadjusted import unadjusted
from numpyro_score.infer.warmup import PreconditionerOptions, WarmupOptions, check_options
from numpyro_score.kernels.langevin import ula
from numpyro_score.kernels.local_mala import local_mala, warming
from numpyro_score.kernels.mala import mala
from numpyro_score.kernels.signature import algorithm_of
from numpyro_score.kernels.underdamped import (
    FRICTION,
    adjusted,
    check_friction,
    underdamped_langevin,
)
from numpyro_score.types import DriftFn, LogDensityFn, ScoreFn, Temperature

ULA_STEP_SIZE = 0.1
"""Default step of the unadjusted chain: variances come out 5% too large where `P` is right."""


class MALA(NumPyroKernel):
    """Metropolis-adjusted Langevin algorithm; exact.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    drift_fn
        Unconstrained position -> vector field to follow in place of the gradient.
    temperature
        A number, or a function of the number of steps taken; T samples `p^(1/T)`, and for T other
        than 1 the kernel is not `exact`.
    local_step_size
        Whether every move chooses its own step size, reversibly, around the one that warmup found
        (`numpyro_score.local_mala`): for funnels and other densities whose scale varies, at two to
        six gradients a move. It cannot be combined with a temperature.
    warmup
        Options of the warmup, by name, described in `numpyro_score.infer.WarmupOptions`:
        `step_size`, `inverse_mass_matrix`, `adapt_step_size`, `adapt_mass_matrix`, `dense_mass`,
        `target_accept_prob`, `restart_stuck_chains`. `step_size` is the
        Langevin `eps`, `P` the `inverse_mass_matrix`; by default both are learned, for an
        acceptance of .574.

    Raises
    ------
    ValueError
        If a step size of every move is combined with a temperature.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0))
    >>> mcmc = MCMC(
    ...     MALA(model),
    ...     num_warmup=100,
    ...     num_samples=100,
    ...     num_chains=4,
    ...     chain_method="vectorized",
    ...     progress_bar=False,
    ... )
    >>> mcmc.run(jax.random.key(0))
    >>> mcmc.get_samples()["x"].shape
    (400,)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        init_strategy: Callable[..., Any] = init_to_uniform,
        drift_fn: DriftFn | None = None,
        temperature: Temperature = 1.0,
        local_step_size: bool = False,
        **warmup: Unpack[WarmupOptions],
    ) -> None:
        check_options(type(self), warmup)
        if local_step_size:
            if callable(temperature) or temperature != 1.0:
                raise ValueError(
                    f"local_step_size=True with temperature={temperature!r}: a step size of every "
                    "move is there for temperature 1 alone; leave one of the two out."
                )
            algorithm = algorithm_of(local_mala, {"drift_fn": drift_fn}, warmup_api=warming)
        else:
            algorithm = algorithm_of(mala, {"drift_fn": drift_fn, "temperature": temperature})
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            markov(algorithm, **warmup),
        )


class ULA(NumPyroKernel):
    """Unadjusted Langevin algorithm: **biased**, `exact` is False.

    Its step size cannot be tuned by acceptance, for it accepts everything; it is used as given.
    With a density, the preconditioner is learned in a warmup of MALA steps (of a step size of
    their own); with a score alone it is used as given.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three, or none with `score_fn`.
    score_fn
        Unconstrained position -> gradient of the log density; enough without a density.
    step_size
        The Langevin `eps`; the variance of a unit Gaussian comes out as `1 / (1 - eps / 2)`.
    adapt_step_size
        Must be False.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    temperature
        A number, or a function of the number of steps taken; 0 ascends to a mode.
    preconditioner
        Options of the preconditioner, by name, described in
        `numpyro_score.infer.PreconditionerOptions`: `inverse_mass_matrix`, `adapt_mass_matrix`,
        `dense_mass`, `restart_stuck_chains`.

    Raises
    ------
    ValueError
        If asked to adapt the step size, or to learn a preconditioner from a score alone.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0))
    >>> kernel = ULA(model, step_size=0.05)
    >>> kernel.exact
    False
    >>> mcmc = MCMC(kernel, num_warmup=100, num_samples=100, progress_bar=False)
    >>> mcmc.run(jax.random.key(0))
    >>> mcmc.get_samples()["x"].shape
    (100,)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        score_fn: ScoreFn | None = None,
        step_size: float = ULA_STEP_SIZE,
        adapt_step_size: bool = False,
        init_strategy: Callable[..., Any] = init_to_uniform,
        temperature: Temperature = 1.0,
        **preconditioner: Unpack[PreconditionerOptions],
    ) -> None:
        super().__init__(
            *unadjusted(
                type(self),
                (model, potential_fn, logdensity_fn, init_strategy),
                algorithm_of(ula, {"score_fn": score_fn, "temperature": temperature}),
                mala,
                step_size,
                preconditioner,
                adapt_step_size=adapt_step_size,
            )
        )


class UnderdampedLangevin(NumPyroKernel):
    """Underdamped Langevin dynamics, with a velocity: **biased**, `exact` is False.

    As biased as `ULA` at the same step size, and faster: it moves ballistically instead of
    diffusing. Warmup is that of `ULA`.

    Parameters
    ----------
    model, potential_fn, logdensity_fn, score_fn
        As for `ULA`.
    step_size, adapt_step_size, init_strategy, temperature, preconditioner
        As for `ULA`.
    friction
        Friction per unit of time in whitened coordinates; as it grows, the chain tends to `ULA`.

    Raises
    ------
    ValueError
        As `ULA`, and if the friction is not above 0.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro.infer import MCMC
    >>> kernel = UnderdampedLangevin(logdensity_fn=lambda x: -0.5 * jnp.sum(x**2), friction=0.5)
    >>> mcmc = MCMC(kernel, num_warmup=100, num_samples=100, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), init_params=jnp.zeros(2))
    >>> mcmc.get_samples().shape, kernel.exact
    ((100, 2), False)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        score_fn: ScoreFn | None = None,
        step_size: float = ULA_STEP_SIZE,
        friction: float = FRICTION,
        adapt_step_size: bool = False,
        init_strategy: Callable[..., Any] = init_to_uniform,
        temperature: Temperature = 1.0,
        **preconditioner: Unpack[PreconditionerOptions],
    ) -> None:
        check_friction(friction)
        parameters = {"score_fn": score_fn, "temperature": temperature, "friction": friction}
        super().__init__(
            *unadjusted(
                type(self),
                (model, potential_fn, logdensity_fn, init_strategy),
                algorithm_of(underdamped_langevin, parameters),
                adjusted,
                step_size,
                preconditioner,
                adapt_step_size=adapt_step_size,
            )
        )


def dense_mala(model: Callable[..., Any]) -> MALA:
    """MALA with a dense inverse mass matrix, the choice for correlated posteriors.

    Parameters
    ----------
    model
        A NumPyro model.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0))
    >>> dense_mala(model).exact
    True
    """
    return MALA(model, dense_mass=True)
