"""`ParallelTempering` and `TemperedSMC`: kernels that cross from a reference to the target."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jax.flatten_util import ravel_pytree
from numpyro.infer.initialization import init_to_uniform

from numpyro_score.checks import check_whole
from numpyro_score.deprecation import renamed_arguments
from numpyro_score.infer.markov import UNTUNED_FIELDS, markov
from numpyro_score.infer.numpyro_kernel import NumPyroKernel
from numpyro_score.infer.particles import particles
from numpyro_score.infer.problem import Problem
from numpyro_score.infer.sampler import Context, prepared
from numpyro_score.kernels.parallel_tempering import parallel_tempering
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.kernels.signature import Algorithm, algorithm_of
from numpyro_score.learned.exploring import run_exploration
from numpyro_score.learned.ladder import LearnedLadder, ladder_of
from numpyro_score.learned.reference import as_reference, position_of, reference_of
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import LogDensityFn, Position, RngKey

NUM_PARTICLES = 512
"""Default number of particles that a ladder is learned from."""

POPULATION = 1000
"""Default size of a population: one for every thousand draws of a chain."""


class ParallelTempering(NumPyroKernel):
    """Parallel tempering between the prior and the posterior; exact.

    Before the first step a small tempered SMC finds temperatures between which replicas exchange
    often, and a step size and a preconditioner for each; chains start from its particles unless
    `init_params` are given. A step moves every replica by `num_local` MALA steps and exchanges
    neighbours. What it costs is reported: `num_grad` counts all replicas.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three. Without a model give `reference`, or `init_params`.
    num_local
        MALA steps of every replica between exchanges.
    num_particles
        Particles of the exploration that the ladder is learned from.
    reference
        The distribution at inverse temperature 0: a NumPyro distribution over the flat
        unconstrained position, or an `IndependentProposal` of it. By default the model's prior, or
        a Gaussian of sd 10 where there is none.
    init_strategy
        As in `numpyro.infer.HMC`; used for the shapes of the sites alone.

    Raises
    ------
    ValueError, TypeError
        If what is to be sampled is missing or given twice, or a number cannot be one.

    References
    ----------
    Geyer 1991; Syed et al. 2022, doi:10.1111/rssb.12464.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model(y):
    ...     x = numpyro.sample("x", dist.Normal(0.0, 3.0))
    ...     numpyro.sample("y", dist.Normal(x**2, 1.0), obs=y)
    >>> kernel = ParallelTempering(model)
    >>> mcmc = MCMC(
    ...     kernel,
    ...     num_warmup=50,
    ...     num_samples=200,
    ...     num_chains=4,
    ...     chain_method="vectorized",
    ...     progress_bar=False,
    ... )
    >>> mcmc.run(jax.random.key(0), 4.0)
    >>> x = mcmc.get_samples()["x"]
    >>> bool(0.3 < (x > 0).mean() < 0.7), kernel.exact  # modes at -2 and 2
    (True, True)
    """

    @renamed_arguments(start="reference")
    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        num_local: int = 4,
        num_particles: int = NUM_PARTICLES,
        reference: IndependentProposal | Any = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        check_whole("num_local", num_local)
        check_whole("num_particles", num_particles, 16)
        given = as_reference(reference)
        algorithm = algorithm_of(parallel_tempering, {"num_local": num_local})
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            prepared(
                markov(algorithm, bind=partial(_use_ladder, given), fields=UNTUNED_FIELDS),
                partial(_learn_ladder, given, num_particles),
                position_of(given),
                num_particles=num_particles,
                reference=given,
            ),
        )


def _reference(
    given: IndependentProposal | None, context: Context, position: Position
) -> IndependentProposal:
    flat = ravel_pytree(position)[0]
    return reference_of(given, context.model, flat, context.args, dict(context.kwargs))


def _use_ladder(
    given: IndependentProposal | None, algorithm: Algorithm, context: Context, position: Position
) -> Algorithm:
    reference = _reference(given, context, position)
    learned = {"reference": reference, "ladder": context.learned}
    return algorithm._replace(parameters={**algorithm.parameters, **learned})


def _learn_ladder(
    given: IndependentProposal | None,
    num_particles: int,
    rng_key: RngKey,
    template: Position,
    context: Context,
    progress: ProgressCallback | None,
) -> LearnedLadder:
    explored, seconds = run_exploration(
        context.flat_logdensity_fn(template),
        _reference(given, context, template),
        rng_key,
        num_particles,
        progress,
    )
    ladder, num_grad = ladder_of(explored), explored.num_grad
    return LearnedLadder(ladder, explored.particles, template, num_grad, {"explore": seconds})


class TemperedSMC(NumPyroKernel):
    """Adaptive tempered sequential Monte Carlo: **approximate**, `exact` is False.

    A chain is a population of its own: `num_particles` are annealed from the prior to the posterior
    by BlackJAX's adaptive tempered SMC, moved by MALA, and returned one per draw, in random order;
    where more draws are asked for, the next population follows. The distribution of a finite
    population has a bias of about `1 / num_particles`, and its particles share errors, above all in
    the weights of modes: R-hat between chains, each with its own populations, shows them, and
    `sample` warns if four chains or more differ far too much. Warmup does nothing. A population
    that does not reach the target is marked as diverging.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three. Without a model give `init_params`, for their shape.
    num_particles
        Size of a population. For equally many draws of each give a divisor of `num_samples`.
    reference
        What annealing starts from: a NumPyro distribution over the flat unconstrained position, or
        an `IndependentProposal` of it. By default the model's prior, or a Gaussian of sd 10 where
        there is none.
    init_strategy
        As in `numpyro.infer.HMC`; used for the shapes of the sites alone.

    Raises
    ------
    ValueError, TypeError
        If what is to be sampled is missing or given twice, or a number cannot be one.

    References
    ----------
    Del Moral, Doucet and Jasra 2006, doi:10.1111/j.1467-9868.2006.00553.x.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.infer import MCMC
    >>> def model(y):
    ...     x = numpyro.sample("x", dist.Normal(0.0, 3.0))
    ...     numpyro.sample("y", dist.Normal(x**2, 1.0), obs=y)
    >>> kernel = TemperedSMC(model, num_particles=400)
    >>> mcmc = MCMC(kernel, num_warmup=0, num_samples=400, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), 4.0)
    >>> x = mcmc.get_samples()["x"]
    >>> bool(0.3 < (x > 0).mean() < 0.7), kernel.exact  # modes at -2 and 2
    (True, False)
    """

    @renamed_arguments(start="reference")
    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        num_particles: int = POPULATION,
        reference: IndependentProposal | Any = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        check_whole("num_particles", num_particles, 16)
        super().__init__(
            Problem(type(self).__name__, model, potential_fn, logdensity_fn, init_strategy),
            particles(num_particles, as_reference(reference)),
        )
