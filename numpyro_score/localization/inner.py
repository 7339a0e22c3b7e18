"""Posterior means of an unnormalised density by chains: localization without training.

A population of chains follows the posterior of `x` given `Y_t = y` as it sharpens. At each time it
is weighed by how much better the new observation suits each chain, resampled where the weights are
uneven, moved by a Markov kernel that leaves the posterior invariant, and averaged: a sequential
Monte Carlo sampler along the observations (Del Moral, Doucet and Jasra 2006,
doi:10.1111/j.1467-9868.2006.00553.x) that goes on where the last step ended. Near time 0 the
posterior is the whole target: `start` finds a first observation, and `choose_start` a time for it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive, check_whole
from numpyro_score.deprecation import renamed_arguments
from numpyro_score.kernels.base import run_steps
from numpyro_score.kernels.mala import TARGET_ACCEPTANCE_RATE, mala, optimal_step_size
from numpyro_score.localization.base import Observation, ObservationProcess, Point, Summary
from numpyro_score.step_size import follow_acceptance
from numpyro_score.types import LogDensityFn, RngKey, Scalar

Move: TypeAlias = Callable[
    [RngKey, Point, LogDensityFn, Float[Array, ""]], tuple[Point, Float[Array, ""]]
]
"""`(rng_key, x, logdensity_fn, scale) -> (x, acceptance rate)`."""


def mala_move(
    rng_key: RngKey, x: Point, logdensity_fn: LogDensityFn, scale: Float[Array, ""]
) -> tuple[Point, Float[Array, ""]]:
    """One MALA step; `scale` is the variance of the narrowest direction, about.

    Parameters
    ----------
    rng_key
        One random key.
    x
        One point, any shape.
    logdensity_fn
        One point -> scalar log density.
    scale
        Variance of the narrowest direction, about.

    Returns
    -------
    The point after the step, and the acceptance rate.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> x, rate = mala_move(
    ...     jax.random.key(0), jnp.zeros(2), lambda x: -0.5 * jnp.sum(x**2), jnp.ones(())
    ... )
    >>> x.shape, bool(0 <= rate <= 1)
    ((2,), True)
    """
    step_size = scale * optimal_step_size(x.size)
    kernel = mala.build_kernel()
    state, info = kernel(rng_key, mala.init(x, logdensity_fn), logdensity_fn, step_size)
    return state.position, info.acceptance_rate


def gibbs_sweep(
    rng_key: RngKey, x: Point, logdensity_fn: LogDensityFn, scale: Float[Array, ""]
) -> tuple[Point, Float[Array, ""]]:
    """One sweep over spins, each drawn from its law given the others (heat bath).

    Parameters
    ----------
    rng_key
        One random key.
    x
        Spins, any shape.
    logdensity_fn
        Spins -> scalar log probability, up to a constant.
    scale
        Not used: there is no size of moves.

    Returns
    -------
    The spins after the sweep, and the acceptance rate at which sizes stay as they are.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> field = jnp.array([50.0, -50.0])  # strong: spins point along it
    >>> spins, _ = gibbs_sweep(
    ...     jax.random.key(0), jnp.array([-1.0, -1.0]), lambda x: jnp.dot(field, x), jnp.ones(())
    ... )
    >>> spins.tolist()
    [1.0, -1.0]
    """
    del scale
    flat = x.reshape(-1)

    def site(spins: Array, row: tuple) -> tuple[Array, None]:
        rng_key, i = row
        up, down = (logdensity_fn(spins.at[i].set(value).reshape(x.shape)) for value in (1.0, -1.0))
        is_up = jax.random.bernoulli(rng_key, jax.nn.sigmoid(up - down))
        return spins.at[i].set(jnp.where(is_up, 1.0, -1.0)), None

    rows = (jax.random.split(rng_key, flat.size), jnp.arange(flat.size))
    moved, _ = jax.lax.scan(site, flat, rows)
    return moved.reshape(x.shape), jnp.asarray(TARGET_ACCEPTANCE_RATE, x.dtype)


class Population(NamedTuple):
    """Chains at the posterior of one observation.

    Attributes
    ----------
    points
        `(num_inner_chains, *shape)`.
    y, t
        The observation, and its time.
    log_scale
        What the moves' size is tuned by.
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
    """What is known of `x`, by chains on the posterior; a `RunningMean`.

    Parameters
    ----------
    process
        The observations.
    logdensity_fn
        One point -> scalar log density, unnormalised.
    reference
        A law as wide as the target or wider, with `sample(rng_key, shape)` and `log_prob(x)` of
        one point: a NumPyro distribution. Chains start from it.
    move
        `mala_move`, for spins `gibbs_sweep`, or a function like them.
    num_inner_chains
        Chains of each draw.
    num_steps
        Moves of each chain at every time.
    num_start
        Rounds in which the first observation is found, where the first time is above 0.
    local_sd
        Width of the target's modes, which the first moves are sized by.

    Raises
    ------
    TypeError
        If the density cannot be called, or the reference is no law.
    ValueError
        If a number is below 1, or the width is not above 0.

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
        """Calls of the log density, gradient included, at every time."""
        return self.num_inner_chains * self.num_steps

    def posterior(self, y: Observation, t: Scalar) -> LogDensityFn:
        """Log density of `x` given the observation, up to a constant."""
        return lambda x: self.logdensity_fn(x) + self.process.log_likelihood(y, x, t)

    def population(self, rng_key: RngKey, y: Observation, t: Scalar) -> Population:
        """Chains at `(y, t)` from draws of the reference, weighed and resampled."""
        key_draw, key_choose = jax.random.split(rng_key)
        # more than are kept, since most of a wide law's draws are far from the posterior
        points = self.reference.sample(key_draw, (8 * self.num_inner_chains,))
        log_weights = jax.vmap(self.posterior(y, t))(points) - jax.vmap(self._log_reference)(points)
        kept = self._resample(key_choose, points, log_weights)
        none = jnp.zeros((), points.dtype)
        return Population(kept, y, jnp.asarray(t, points.dtype), none, none)

    def start(self, rng_key: RngKey, t: Scalar) -> tuple[Observation, Population]:
        """A first observation and its chains.

        At time 0 that is all. Later, `Y_t` and chains are drawn in turn, each given the other: a
        Gibbs sampler of `(x, Y_t)`, which mixes well where `Y_t` blurs the modes.
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
        """What the chains say of `x` at `(y, t)`, and the chains there."""
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
        # with observations t x + W_t the posterior's precision is t plus the target's own
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
        """Points drawn by their weights; equal weights keep all."""
        from blackjax.smc import resampling  # takes a second to import

        weights = jax.nn.softmax(jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights))
        return points[resampling.systematic(rng_key, weights, self.num_inner_chains)]

    def _log_reference(self, x: Point) -> Float[Array, ""]:
        return jnp.sum(self.reference.log_prob(x))
