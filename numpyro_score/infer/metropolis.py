"""Metropolis-Hastings kernels in NumPyro's protocol: any proposal, a random walk, independence."""

from collections.abc import Callable
from typing import Any, Unpack

from numpyro.infer.initialization import init_to_uniform

from numpyro_score.infer.markov import markov
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.sampler import Context
from numpyro_score.infer.warmup import WarmupOptions, check_options
from numpyro_score.kernels.independence import independence
from numpyro_score.kernels.metropolis import Proposal, metropolis_hastings
from numpyro_score.kernels.proposals import IndependentProposal, from_distribution
from numpyro_score.kernels.random_walk import random_walk
from numpyro_score.kernels.signature import Algorithm, algorithm_of
from numpyro_score.targets.prior import prior_proposal
from numpyro_score.types import LogDensityFn, Position, Temperature


class MetropolisHastings(NumPyroKernel):
    """Metropolis-Hastings with a proposal of your own; exact.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three.
    proposal
        `(rng_key, x) -> (x', log q(x | x') - log q(x' | x))` on the unconstrained position, a
        dict of sites for a model. See `numpyro_score.kernels.proposals`.
    temperature
        A number, or a function of the number of steps taken; T samples `p^(1/T)`, and for T other
        than 1 the kernel is not `exact`.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro.infer import MCMC
    >>> from numpyro_score.kernels.proposals import gaussian_random_walk
    >>> kernel = MetropolisHastings(
    ...     logdensity_fn=lambda x: -0.5 * jnp.sum(x**2), proposal=gaussian_random_walk(1.5)
    ... )
    >>> mcmc = MCMC(kernel, num_warmup=0, num_samples=100, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), init_params=jnp.zeros(2))
    >>> mcmc.get_samples().shape
    (100, 2)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        proposal: Proposal,
        temperature: Temperature = 1.0,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        parameters = {"proposal": proposal, "temperature": temperature}
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            markov(algorithm_of(metropolis_hastings, parameters)),
        )


class RandomWalkMetropolis(NumPyroKernel):
    """Random walk Metropolis, `x' ~ N(x, step_size^2 P)`; exact, needs no gradient.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.
    temperature
        A number, or a function of the number of steps taken; T samples `p^(1/T)`, and for T other
        than 1 the kernel is not `exact`.
    warmup
        Options of the warmup, by name, described in `numpyro_score.infer.WarmupOptions`:
        `step_size`, `inverse_mass_matrix`, `adapt_step_size`, `adapt_mass_matrix`, `dense_mass`,
        `target_accept_prob`, `restart_stuck_chains`. By default step size and
        `P` are learned, for an acceptance of .234.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0))
    >>> mcmc = MCMC(
    ...     RandomWalkMetropolis(model),
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
        temperature: Temperature = 1.0,
        **warmup: Unpack[WarmupOptions],
    ) -> None:
        check_options(type(self), warmup)
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            markov(algorithm_of(random_walk, {"temperature": temperature}), **warmup),
        )


class IndependenceMetropolis(NumPyroKernel):
    """Independence Metropolis: candidates from a fixed distribution; exact if it covers the target.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three.
    proposal
        An `IndependentProposal` on the unconstrained position, or a NumPyro distribution over it
        where the position is one array. By default the model's own prior, which covers the
        posterior but is rarely accepted where the data are informative.
    init_strategy
        Where chains start, as in `numpyro.infer.HMC`.

    Raises
    ------
    ValueError
        If there is neither a proposal nor a model.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model(y):
    ...     x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    ...     numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    >>> mcmc = MCMC(
    ...     IndependenceMetropolis(model), num_warmup=0, num_samples=100, progress_bar=False
    ... )
    >>> mcmc.run(jax.random.key(0), 0.5)
    >>> mcmc.get_samples()["x"].shape
    (100,)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        proposal: IndependentProposal | Any = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        if proposal is None and model is None:
            raise ValueError(
                "IndependenceMetropolis without a model has no prior to propose from; give "
                "proposal=, a NumPyro distribution or an IndependentProposal."
            )
        if proposal is not None and not isinstance(proposal, IndependentProposal):
            proposal = from_distribution(proposal)
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            markov(
                algorithm_of(independence, {"proposal": proposal}),
                bind=_propose_from_prior if proposal is None else None,
            ),
        )


def _propose_from_prior(algorithm: Algorithm, context: Context, position: Position) -> Algorithm:
    """The algorithm with the model's prior as its proposal."""
    del position
    assert context.model is not None  # checked at construction
    proposal = prior_proposal(context.model, context.args, dict(context.kwargs))
    return algorithm._replace(parameters={"proposal": IndependentProposal(*proposal)})
