"""`ParallelTempering`: replicas at a learned ladder of temperatures; exact."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.initialization import init_to_uniform

from numpyro_score.checks import check_whole
from numpyro_score.infer.algorithm import Algorithm
from numpyro_score.infer.prepared import FlatLogDensity, PreparedKernel
from numpyro_score.infer.tempering.explore import Explored, reach
from numpyro_score.infer.tempering.start_law import as_law, start_law
from numpyro_score.kernels.ladder import Ladder
from numpyro_score.kernels.parallel_tempering import parallel_tempering
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.types import LogDensityFn, Position, RngKey

NUM_PARTICLES = 512
"""Default number of particles that the ladder is learned from."""


class Climbed(NamedTuple):
    """What the ladder was learned from, and what that took.

    Attributes
    ----------
    ladder
        Temperatures, with steps of MALA.
    particles, template, num_grad, seconds
        As in `Preparation`.
    """

    ladder: Ladder
    particles: Float[Array, "num dim"]
    template: Position
    num_grad: int
    seconds: dict[str, float]


def ladder_of(explored: Explored) -> Ladder:
    """The stages of an exploration as a ladder: the reference, and every temperature after it."""
    num = int(explored.num_stages)
    betas, step_sizes, variances = (np.asarray(part)[:num] for part in explored.stages)
    # several stages are at the target itself; the last has seen most
    betas, which = np.unique(betas[::-1], return_index=True)
    which = num - 1 - which
    rows = [betas, step_sizes[which], variances[which]]
    rows = [np.concatenate([row[:1], row]) for row in rows]
    rows[0][0] = 0.0
    return Ladder(*(jnp.asarray(row) for row in rows))


class ParallelTempering(PreparedKernel):
    """Parallel tempering between the prior and the posterior; exact.

    Before the first step a small tempered SMC finds temperatures between which replicas exchange
    often, and a step size and a preconditioner for each; chains start from its particles unless
    `init_params` are given. A step moves every replica by `num_local` MALA steps and exchanges
    neighbours. What it costs is reported: `num_grad` counts all replicas.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three. Without a model give `init_params`.
    num_local
        MALA steps of every replica between exchanges.
    num_particles
        Particles of the exploration that the ladder is learned from.
    start
        The law at the top of the ladder: a NumPyro distribution over the flat unconstrained
        position, or an `IndependentProposal` of it. By default the model's prior, or a Gaussian of
        sd 10 where there is none.
    init_strategy
        As in `numpyro.infer.HMC`; only tells the shapes of the sites.

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

    _tells_step_size = False

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        num_local: int = 4,
        num_particles: int = NUM_PARTICLES,
        start: IndependentProposal | Any = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        check_whole("num_local", num_local)
        check_whole("num_particles", num_particles, 16)
        super().__init__(
            Algorithm(parallel_tempering, {"num_local": num_local}),
            model,
            potential_fn,
            logdensity_fn,
            init_strategy=init_strategy,
        )
        self._num_particles = num_particles
        self._start_law = as_law(start)

    @property
    def settings(self) -> dict[str, Any]:
        """What the kernel was given, in plain values and words, to tell one run from another."""
        own = {"num_particles": self._num_particles, "start": repr(self._start_law)}
        return {**super().settings, **own}

    def _prepare(
        self,
        rng_key: RngKey,
        template: Position,
        logdensity_fn: FlatLogDensity,
        args: Any,
        kwargs: dict[str, Any],
    ) -> Climbed:
        law = self._reference(ravel_pytree(template)[0], args, kwargs)
        explored, seconds = reach(logdensity_fn, law, rng_key, self._num_particles, self._tell)
        ladder, num_grad = ladder_of(explored), explored.num_grad
        return Climbed(ladder, explored.particles, template, num_grad, {"explore": seconds})

    def _reference(self, flat: Array, args: Any, kwargs: dict[str, Any]) -> IndependentProposal:
        return start_law(self._start_law, self.model, flat, args, kwargs)

    def _bound_algorithm(self, model_args: Any, model_kwargs: Any) -> Algorithm:
        assert isinstance(self._prepared, Climbed)
        flat = ravel_pytree(self._prepared.template)[0]
        learned = {
            "reference": self._reference(flat, model_args, dict(model_kwargs or {})),
            "ladder": self._prepared.ladder,
        }
        return self._algorithm._replace(parameters={**self._algorithm.parameters, **learned})
