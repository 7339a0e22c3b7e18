"""Posterior means of an unnormalised density by inner chains: localization without training.

A population of chains follows the posterior of `x` given `Y_t = y` as t grows. At each time the
chains are weighted by the likelihood ratio of the new observation, resampled, moved by a Markov
kernel that leaves the posterior invariant, and averaged. This is a sequential Monte Carlo sampler
along the observations (Del Moral, Doucet and Jasra 2006, doi:10.1111/j.1467-9868.2006.00553.x).
Near time 0 the posterior is the whole target: `start` draws a first observation, and `choose_start`
chooses its time.
"""

from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive, check_whole
from numpyro_score.deprecation import renamed_arguments
from numpyro_score.kernels.base import run_steps
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE
from numpyro_score.localization.base import Observation, ObservationProcess, Point, Summary
from numpyro_score.localization.moves import Move, mala_move
from numpyro_score.step_size import follow_acceptance
from numpyro_score.types import LogDensityFn, RngKey, Scalar


class Population(NamedTuple):
    """Chains with the posterior given one observation as target.

    Attributes
    ----------
    points
        `(num_inner_chains, *shape)`.
    y, t
        The observation, and its time.
    log_scale
        Logarithm of a factor of the moves' scale, adapted to the acceptance rate.
    acceptance
        Mean acceptance rate of the last moves.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
    >>> from numpyro_score.localization import InnerChains, IsotropicGaussian
    >>> wide = dist.Normal(0.0, 3.0).expand([1]).to_event(1)
    >>> chains = InnerChains(IsotropicGaussian(1), lambda x: -0.5 * jnp.sum(x**2), wide)
    >>> population = chains.population(jax.random.key(0), jnp.array([6.0]), 3.0)
    >>> population.points.shape, float(population.t)
    ((64, 1), 3.0)
    """

    points: Float[Array, "chains ..."]
    y: Observation
    t: Float[Array, ""]
    log_scale: Float[Array, ""]
    acceptance: Float[Array, ""]


@final
class InnerChains(eqx.Module):
    """Posterior mean of `x` by inner chains; a `RunningMean`.

    Parameters
    ----------
    process
        The observations.
    logdensity_fn
        One point -> scalar log density, unnormalised.
    reference
        A NumPyro distribution of one point, at least as wide as the target, from which chains
        start.
    move
        `mala_move`, `gibbs_sweep` for spins, or a function like them.
    num_inner_chains
        Number of chains for each draw.
    num_steps
        Number of moves of each chain at every time.
    num_start
        Number of Gibbs rounds for the first observation, if the first time is above 0.
    local_sd
        Width of the target's modes, from which the scale of the first moves follows.

    Raises
    ------
    TypeError
        The density cannot be called, or the reference is not a distribution.
    ValueError
        A number is below 1, or the width is not above 0.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
    >>> from numpyro_score.localization import IsotropicGaussian
    >>> wide = dist.Normal(0.0, 3.0).expand([1]).to_event(1)
    >>> chains = InnerChains(IsotropicGaussian(1), lambda x: -0.5 * jnp.sum(x**2), wide)
    >>> population = chains.population(jax.random.key(0), jnp.array([6.0]), 3.0)
    >>> bool(abs(population.points.mean() - 6.0 / (1 + 3.0)) < 0.5)  # E[x | Y_3 = 6]
    True
    """

    process: ObservationProcess
    logdensity_fn: LogDensityFn
    reference: Any
    move: Move = eqx.field(static=True)
    num_inner_chains: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)
    num_start: int = eqx.field(static=True)
    local_sd: float = eqx.field(static=True)

    @renamed_arguments(num_chains="num_inner_chains")
    def __init__(
        self,
        process: ObservationProcess,
        logdensity_fn: LogDensityFn,
        reference: Any,
        move: Move = mala_move,
        num_inner_chains: int = 64,
        num_steps: int = 4,
        num_start: int = 32,
        local_sd: float = 1.0,
    ) -> None:
        if not callable(logdensity_fn):
            raise TypeError(
                f"logdensity_fn is a {type(logdensity_fn).__name__}; a function of one point is "
                "needed"
            )
        if not hasattr(reference, "sample") or not hasattr(reference, "log_prob"):
            raise TypeError(
                f"the reference is a {type(reference).__name__} without sample and log_prob; "
                "give a NumPyro distribution over one point"
            )
        check_whole("num_inner_chains", num_inner_chains)
        check_whole("num_steps", num_steps)
        check_whole("num_start", num_start)
        check_positive("local_sd", local_sd)
        self.process = process
        self.logdensity_fn = logdensity_fn
        self.reference = reference
        self.move = move
        self.num_inner_chains = num_inner_chains
        self.num_steps = num_steps
        self.num_start = num_start
        self.local_sd = local_sd

    @property
    def evaluations_per_time(self) -> int:
        """Evaluations of the log density and its gradient at every time."""
        return self.num_inner_chains * self.num_steps

    def posterior(self, y: Observation, t: Scalar) -> LogDensityFn:
        """Log density of `x` given the observation, up to a constant."""
        return lambda x: self.logdensity_fn(x) + self.process.log_likelihood(y, x, t)

    def population(self, rng_key: RngKey, y: Observation, t: Scalar) -> Population:
        """Chains at `(y, t)` from weighted and resampled draws of the reference."""
        key_draw, key_choose = jax.random.split(rng_key)
        # more draws than chains, since most draws of a wide reference are far from the posterior
        points = self.reference.sample(key_draw, (8 * self.num_inner_chains,))
        log_weights = jax.vmap(self.posterior(y, t))(points) - jax.vmap(self._log_reference)(points)
        kept = self._resample(key_choose, points, log_weights)
        none = jnp.zeros((), points.dtype)
        return Population(kept, y, jnp.asarray(t, points.dtype), none, none)

    def start(self, rng_key: RngKey, t: Scalar) -> tuple[Observation, Population]:
        """A first observation and its chains.

        At a time above 0, a Gibbs sampler of `(x, Y_t)` alternates between observation and chains.
        It mixes well if the noise in `Y_t` covers the distance between modes.
        """
        key_first, key_chains, key_rounds = jax.random.split(rng_key, 3)
        begin = self.process.start(key_first)
        chains = self.population(key_chains, begin, jnp.zeros(()))
        t = jnp.asarray(t, begin.dtype)

        def one_round(carry: Population, rng_key: RngKey) -> tuple[Population, None]:
            return self.renew(rng_key, carry, t), None

        def rounds(chains: Population) -> Population:
            keys = jax.random.split(key_rounds, self.num_start)
            return jax.lax.scan(one_round, chains, keys)[0]

        chains = jax.lax.cond(t > 0, rounds, lambda chains: chains, chains)
        return chains.y, chains

    def renew(self, rng_key: RngKey, chains: Population, t: Scalar) -> Population:
        """A new `Y_t` given one of the chains, and the chains moved to its posterior."""
        key_choose, key_observe, key_move = jax.random.split(rng_key, 3)
        chosen = jax.random.choice(key_choose, chains.points)
        y = self.process.observe(key_observe, chosen, t)
        return self._follow(key_move, chains, y, t)[1]

    def update(
        self, rng_key: RngKey, memory: Population, y: Observation, t: Scalar
    ) -> tuple[Summary, Population]:
        """The chains' estimate of the posterior summary at `(y, t)`, and the chains there."""
        return self._follow(rng_key, memory, y, t)

    def _follow(
        self, rng_key: RngKey, chains: Population, y: Observation, t: Scalar
    ) -> tuple[Summary, Population]:
        key_choose, key_move = jax.random.split(rng_key)
        process, t = self.process, jnp.asarray(t, chains.t.dtype)

        def gain(x: Point) -> Array:
            before = process.log_likelihood(chains.y, x, chains.t)
            return process.log_likelihood(y, x, t) - before

        points = self._resample(key_choose, chains.points, jax.vmap(gain)(chains.points))
        density = self.posterior(y, t)
        # for observations t x + W_t the posterior's precision is t plus that of the target
        scale = jnp.exp(chains.log_scale) / (t + self.local_sd**-2)

        def move(rng_key: RngKey, points: Array) -> tuple[Array, tuple[Array, Array]]:
            keys = jax.random.split(rng_key, self.num_inner_chains)
            points, rates = jax.vmap(lambda key, x: self.move(key, x, density, scale))(keys, points)
            weights = jnp.full(self.num_inner_chains, 1 / self.num_inner_chains, points.dtype)
            return points, (process.summarize(points, weights), jnp.mean(rates))

        points, (summaries, rates) = run_steps(move, key_move, points, self.num_steps)
        acceptance = jnp.mean(jnp.nan_to_num(rates))
        log_scale = follow_acceptance(
            chains.log_scale, acceptance, TARGET_ACCEPTANCE_RATE, gain=1.0
        )
        return summaries.mean(0), Population(points, y, t, log_scale, acceptance)

    def _resample(self, rng_key: RngKey, points: Array, log_weights: Array) -> Array:
        """Points resampled by their weights; equal weights keep all."""
        from blackjax.smc import resampling  # takes a second to import

        weights = jax.nn.softmax(jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights))
        return points[resampling.systematic(rng_key, weights, self.num_inner_chains)]

    def _log_reference(self, x: Point) -> Float[Array, ""]:
        return jnp.sum(self.reference.log_prob(x))
