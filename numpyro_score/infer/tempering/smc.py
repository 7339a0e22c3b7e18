"""`TemperedSMC`: draws are particles of annealed populations, in NumPyro's protocol."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int
from numpyro.infer.initialization import init_to_uniform
from numpyro.util import is_prng_key

from numpyro_score.checks import check_whole
from numpyro_score.infer.adapter import AdapterKernel, MapChains
from numpyro_score.infer.algorithm import Algorithm
from numpyro_score.infer.state import AdapterState, per_chain
from numpyro_score.infer.tempering.explore import count_grad, explore
from numpyro_score.infer.tempering.start_law import as_law, start_law
from numpyro_score.kernels.metropolis import metropolis_hastings
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.types import LogDensityFn, Position, RngKey

NUM_PARTICLES = 1000
"""Default size of a population: one for every thousand draws of a chain."""

SHARED = ("turn",)
"""Fields of a population's state that all chains have in common."""


class Population(NamedTuple):
    """State of all chains, of which a single one has no chain axis.

    Attributes
    ----------
    position, logdensity
        The last draw of every chain, and the target's log density there.
    particles, logdensities
        The population of every chain, `(chain, row, ...)`.
    info
        What a draw of the population took.
    turn
        Draws so far, one number for all chains.
    """

    position: Position
    logdensity: Float[Array, "*chain"]
    particles: Float[Array, "*chain row dim"]
    logdensities: Float[Array, "*chain row"]
    info: "PopulationInfo"
    turn: Int[Array, ""]


class PopulationInfo(NamedTuple):
    """What a draw took.

    Attributes
    ----------
    acceptance_rate
        Of the population's last moves.
    is_divergent
        Whether the population did not reach the target.
    num_integration_steps, num_logdensity
        Evaluations: those of the population, spread over its draws.
    """

    acceptance_rate: Float[Array, "*chain"]
    is_divergent: Bool[Array, "*chain"]
    num_integration_steps: Int[Array, "*chain"]
    num_logdensity: Int[Array, "*chain"]


def _stay(rng_key: RngKey, position: Position) -> tuple[Position, Float[Array, ""]]:
    """The proposal of no move: this kernel takes only its start from the algorithm it is given."""
    del rng_key
    return position, jnp.zeros(())


class TemperedSMC(AdapterKernel):
    """Adaptive tempered sequential Monte Carlo: **approximate**, `exact` is False.

    A chain is a population of its own: `num_particles` are annealed from the prior to the posterior
    by BlackJAX's adaptive tempered SMC, moved by MALA, and handed out one a draw, in random order;
    where more draws are asked for, the next population follows. The law of a population of finite
    size is off by about `1 / num_particles`, and its particles share errors, of the weights of
    modes above all: R-hat between chains, each with populations of its own, shows them. Warmup does
    nothing. A population that does not reach the target is marked as diverging.

    Parameters
    ----------
    model, potential_fn, logdensity_fn
        What to sample: one of the three. Without a model give `init_params`, for their shape.
    num_particles
        Size of a population. For equally many draws of each give a divisor of `num_samples`.
    start
        What annealing starts from: a NumPyro distribution over the flat unconstrained position, or
        an `IndependentProposal` of it. By default the model's prior, or a Gaussian of sd 10 where
        there is none.
    init_strategy
        As in `numpyro.infer.HMC`; only tells the shapes of the sites.

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

    _tells_step_size = False

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        logdensity_fn: LogDensityFn | None = None,
        *,
        num_particles: int = NUM_PARTICLES,
        start: IndependentProposal | Any = None,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        check_whole("num_particles", num_particles, 16)
        super().__init__(
            Algorithm(metropolis_hastings, {"proposal": _stay}, is_exact=False),
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
        return {"num_particles": self._num_particles, "start": repr(self._start_law)}

    def get_diagnostics_str(self, state: Any) -> str:
        """Line for the progress bar."""
        row = int(state.kernel_state.turn) % self._num_particles
        return f"particle {row} of {self._num_particles}"

    def _started(self, kernel_state: Any) -> Population:
        shape = jnp.shape(kernel_state.logdensity)
        one = jax.tree.map(lambda x: x[0] if shape else x, kernel_state.position)
        flat = ravel_pytree(one)[0]
        rows, none = (*shape, self._num_particles), jnp.zeros(shape, jnp.int32)
        return Population(
            kernel_state.position,
            kernel_state.logdensity,
            jnp.zeros((*rows, flat.size), flat.dtype),
            jnp.zeros(rows, kernel_state.logdensity.dtype),
            PopulationInfo(jnp.ones(shape, flat.dtype), none > 0, none, none),
            jnp.zeros((), jnp.int32),
        )

    def _step_chains(
        self,
        algorithm: Algorithm,
        keys: Any,
        state: Any,
        logdensity_fn: LogDensityFn | None,
        map_chains: MapChains,
        *,
        is_warmup: bool,
    ) -> tuple[Any, Any]:
        del is_warmup
        assert logdensity_fn is not None
        before: Population = state.kernel_state
        anneal = partial(self._anneal, logdensity_fn, *algorithm.parameters["model_call"])
        if is_prng_key(keys):
            # a batch of one
            one = per_chain(before, lambda x: x[None], SHARED)
            new, info = self._draw(one, keys[None], jax.vmap, anneal)
            return per_chain(new, lambda x: x[0], SHARED), jax.tree.map(lambda x: x[0], info)
        return self._draw(before, keys, map_chains, anneal)

    def _draw(
        self, state: Population, keys: Any, map_chains: MapChains, anneal: Callable[..., Any]
    ) -> tuple[Population, PopulationInfo]:
        """The next particle of every chain of a batch; in warmup the same place."""
        row = state.turn % self._num_particles

        def stay() -> Population:
            return state

        def fill() -> Population:
            particles, values, info = map_chains(anneal)(keys, state.position)
            return state._replace(particles=particles, logdensities=values, info=info)

        def draw() -> Population:
            new = jax.lax.cond(row == 0, fill, stay)
            flat = new.particles[:, row]
            unravel = ravel_pytree(jax.tree.map(lambda x: x[0], state.position))[1]
            place = jax.vmap(unravel)(flat)
            return new._replace(position=place, logdensity=new.logdensities[:, row])

        new = jax.lax.cond(state.turn >= 0, draw, stay)._replace(turn=state.turn + 1)
        return new, new.info

    def _anneal(
        self,
        logdensity_fn: LogDensityFn,
        args: Any,
        kwargs: Any,
        rng_key: RngKey,
        position: Position,
    ) -> tuple[Float[Array, "row dim"], Float[Array, " row"], PopulationInfo]:
        """A population, its log densities, and what it took."""
        flat, unravel = ravel_pytree(position)
        num = self._num_particles

        def flat_logdensity(x: Array) -> Array:
            return logdensity_fn(unravel(x))

        law = start_law(self._start_law, self.model, flat, args, kwargs)
        key_explore, key_order = jax.random.split(rng_key)
        explored = explore(flat_logdensity, law, key_explore, num)
        # copies of one particle lie side by side after resampling
        particles = jax.random.permutation(key_order, explored.particles)
        values = jax.vmap(flat_logdensity)(particles)
        is_lost = (explored.tempering < 1) | ~jnp.all(jnp.isfinite(particles))
        info = PopulationInfo(
            explored.acceptance_rate,
            is_lost,
            jnp.asarray(count_grad(1, explored.num_stages), jnp.int32),
            jnp.ones((), jnp.int32),
        )
        return particles, values, info

    def _bound_algorithm(self, model_args: Any, model_kwargs: Any) -> Algorithm:
        call = (model_args, dict(model_kwargs or {}))
        return self._algorithm._replace(parameters={"proposal": _stay, "model_call": call})

    def init(
        self,
        rng_key: Any,
        num_warmup: int,
        init_params: Any,
        model_args: tuple[Any, ...],
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
    ) -> AdapterState:
        """State to start from; no population is made before the first draw."""
        state = super().init(
            rng_key, num_warmup, init_params, model_args, model_kwargs, map_chains=map_chains
        )
        turn = jnp.full((), -num_warmup, jnp.int32)
        return state._replace(kernel_state=state.kernel_state._replace(turn=turn))
