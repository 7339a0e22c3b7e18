"""Langevin kernels in NumPyro's protocol: exact, unadjusted, and accepted by a score alone."""

from collections.abc import Callable
from typing import Any

from numpyro.infer.initialization import init_to_uniform

from numpyro_score.infer.adapter import AdapterKernel
from numpyro_score.infer.algorithm import Algorithm
from numpyro_score.kernels.langevin import ula
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE, mala, optimal_step_size
from numpyro_score.kernels.score_metropolis import NUM_NODES, check_nodes, score_metropolis
from numpyro_score.types import DriftFn, LogDensityFn, ScoreFn, Temperature

ULA_STEP_SIZE = 0.1
"""Default step of the unadjusted chain: variances come out 5% too large where `P` is right."""


class MALA(AdapterKernel):
    """Metropolis-adjusted Langevin algorithm; exact.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three.
    step_size, inverse_mass_matrix, adapt_step_size, adapt_mass_matrix, dense_mass
        As in `numpyro.infer.HMC`; `step_size` is the Langevin `eps`, `P` the
        `inverse_mass_matrix`, by default both learned in warmup.
    target_accept_prob
        Acceptance that the step size is tuned to, by default .574.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    drift_fn
        Unconstrained position -> vector field to follow in place of the gradient.
    temperature
        Number or schedule of the step; T samples `p^(1/T)`, and the kernel is then not `exact`.
    restart_stuck_chains
        Whether chains left far below the others in warmup restart from another's place.

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
        step_size: float | None = None,
        inverse_mass_matrix: Any = None,
        adapt_step_size: bool = True,
        adapt_mass_matrix: bool = True,
        dense_mass: bool = False,
        target_accept_prob: float = TARGET_ACCEPTANCE_RATE,
        init_strategy: Callable[..., Any] = init_to_uniform,
        drift_fn: DriftFn | None = None,
        temperature: Temperature = 1.0,
        restart_stuck_chains: bool = True,
    ) -> None:
        super().__init__(
            Algorithm(
                mala,
                {"drift_fn": drift_fn, "temperature": temperature},
                target_acceptance_rate=TARGET_ACCEPTANCE_RATE,
                optimal_step_size=optimal_step_size,
                takes_factored=True,
            ),
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


class ULA(AdapterKernel):
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
    inverse_mass_matrix, adapt_mass_matrix, dense_mass
        As in `numpyro.infer.HMC`.
    adapt_step_size
        Must be False.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    temperature
        Number or schedule of the step; 0 climbs to the nearest mode.
    restart_stuck_chains
        Whether chains left far below the others in warmup restart from another's place.

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
        inverse_mass_matrix: Any = None,
        adapt_step_size: bool = False,
        adapt_mass_matrix: bool | None = None,
        dense_mass: bool = False,
        init_strategy: Callable[..., Any] = init_to_uniform,
        temperature: Temperature = 1.0,
        restart_stuck_chains: bool = True,
    ) -> None:
        if adapt_step_size:
            raise ValueError(
                "ULA accepts every move, so its step size cannot be adapted to an acceptance "
                "rate; give step_size (smaller is less biased), or use MALA."
            )
        if score_fn is not None and adapt_mass_matrix:
            raise ValueError(
                "ULA learns its preconditioner in MALA steps, which need a log density, but has a "
                "score_fn; give inverse_mass_matrix, or leave score_fn out."
            )
        learns = score_fn is None if adapt_mass_matrix is None else adapt_mass_matrix
        super().__init__(
            Algorithm(
                ula,
                {"score_fn": score_fn, "temperature": temperature},
                is_exact=False,
                target_acceptance_rate=TARGET_ACCEPTANCE_RATE,
                optimal_step_size=optimal_step_size,
                warmup_api=mala if learns else None,
                takes_factored=True,
            ),
            model,
            potential_fn,
            logdensity_fn,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            adapt_step_size=False,
            adapt_mass_matrix=learns,
            dense_mass=dense_mass,
            init_strategy=init_strategy,
            restart_stuck_chains=restart_stuck_chains,
        )


class ScoreMetropolis(AdapterKernel):
    """Langevin steps accepted by the line integral of a score: **approximate**, `exact` is False.

    For targets of which only the score is known: the log ratio of densities is the integral of the
    score along the move, by quadrature. Up to that exact where the score is a gradient, biased
    where it is none, as most trained scores are; an `EnergyNet` has a density, and takes `MALA`.
    The statistic `lp` counts from each chain's start.

    Parameters
    ----------
    score_fn
        Unconstrained position -> gradient of the log density.
    num_nodes
        Evaluations of the score along a move; one more is made at its end.
    step_size, inverse_mass_matrix, adapt_step_size, adapt_mass_matrix, dense_mass
        As for `MALA`.
    target_accept_prob
        Acceptance that the step size is tuned to, by default .574.

    Raises
    ------
    ValueError
        If a number cannot be one; on `run`, if there are no `init_params`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro.infer import MCMC
    >>> kernel = ScoreMetropolis(lambda x: -x)
    >>> mcmc = MCMC(kernel, num_warmup=100, num_samples=100, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), init_params=jnp.zeros(2))
    >>> mcmc.get_samples().shape, kernel.exact
    ((100, 2), False)
    """

    def __init__(
        self,
        score_fn: ScoreFn,
        *,
        num_nodes: int = NUM_NODES,
        step_size: float | None = None,
        inverse_mass_matrix: Any = None,
        adapt_step_size: bool = True,
        adapt_mass_matrix: bool = True,
        dense_mass: bool = False,
        target_accept_prob: float = TARGET_ACCEPTANCE_RATE,
    ) -> None:
        if not callable(score_fn):
            raise TypeError(f"score_fn must be callable, but is a {type(score_fn).__name__}.")
        check_nodes(num_nodes)
        super().__init__(
            Algorithm(
                score_metropolis,
                {"score_fn": score_fn, "num_nodes": num_nodes},
                is_exact=False,
                target_acceptance_rate=TARGET_ACCEPTANCE_RATE,
                optimal_step_size=optimal_step_size,
                takes_factored=True,
                num_grad=num_nodes + 1,
            ),
            None,
            None,
            None,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            adapt_step_size=adapt_step_size,
            adapt_mass_matrix=adapt_mass_matrix,
            dense_mass=dense_mass,
            target_accept_prob=target_accept_prob,
            # what is carried for a log density counts from each chain's own start
            restart_stuck_chains=False,
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
