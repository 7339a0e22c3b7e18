"""The starting time of localization: early enough for `Y_t` to mix, late enough for `x` to mix.

At time 0 there is no observation, and the inner chains must mix over the whole target. At a later
time the posterior is easier, but the first observation must be drawn: a Gibbs sampler alternates
between `Y_t` and `x` (`InnerChains`), and mixes only if the noise in `Y_t` covers the distance
between modes (the duality of log-concavity of Grenioux, Noble, Gabrie and Durmus 2024,
arXiv:2402.10758, section 4). Both are measured by R-hat over populations with dispersed starts; an
R-hat of 1.05 corresponds to means that differ by .3 sd.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.localization.inner import InnerChains, Population
from numpyro_score.types import RngKey

HIGHEST_RHAT = 1.05
"""Largest R-hat at which populations are taken to agree."""


class StartChoice(NamedTuple):
    """How well inner chains mix at each candidate starting time.

    Attributes
    ----------
    times
        The candidates.
    inner_rhat
        R-hat of populations of `x` given the same `Y_t`: the largest over coordinates, the median
        over observations. It decreases with the time.
    outer_rhat
        R-hat of Gibbs runs that alternate between `Y_t` and `x`, each from its own starting point.
        It increases with the time; 1 at time 0, where there is no observation.
    best
        The candidate for which the larger of the two is smallest.
    is_good
        Whether both are at most 1.05 there. If not, no candidate is suitable for this target and
        these chains, and the weights of modes are not reliable.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
    >>> from numpyro_score.localization import InnerChains, IsotropicGaussian
    >>> wide = dist.Normal(0.0, 3.0).expand([1]).to_event(1)
    >>> chains = InnerChains(
    ...     IsotropicGaussian(1),
    ...     lambda x: -0.5 * jnp.sum(x**2),
    ...     wide,
    ...     num_inner_chains=16,
    ...     num_start=8,
    ... )
    >>> choice = choose_start(chains, jax.random.key(0), [0.0, 1.0], num_runs=4)
    >>> choice.inner_rhat.shape, choice.best in choice.times
    ((2,), True)
    """

    times: Float[np.ndarray, " num"]
    inner_rhat: Float[np.ndarray, " num"]
    outer_rhat: Float[np.ndarray, " num"]
    best: float
    is_good: bool


def choose_start(
    mean: InnerChains,
    rng_key: RngKey,
    times: Sequence[float],
    *,
    num_runs: int = 8,
) -> StartChoice:
    """Choose a starting time for localization by inner chains from candidates.

    Parameters
    ----------
    mean
        The inner chains.
    rng_key
        One random key.
    times
        Candidates of 0 or more, such as `[0, *numpy.geomspace(0.01, 1, 5) / variance]`.
    num_runs
        Number of populations, and of observations, at each time.

    Raises
    ------
    ValueError
        A time is negative, or there are fewer than 4 runs.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
    >>> from numpyro_score.localization import InnerChains, IsotropicGaussian
    >>> wide = dist.Normal(0.0, 3.0).expand([1]).to_event(1)
    >>> chains = InnerChains(
    ...     IsotropicGaussian(1),
    ...     lambda x: -0.5 * jnp.sum(x**2),
    ...     wide,
    ...     num_inner_chains=16,
    ...     num_start=8,
    ... )
    >>> choose_start(chains, jax.random.key(0), [0.0, 1.0], num_runs=4).is_good
    True
    """
    values = np.asarray(times, float)
    if values.ndim != 1 or not len(values) or not (values >= 0).all():
        raise ValueError(f"times are {values.tolist()}; give candidates of 0 or more")
    if num_runs < 4:
        raise ValueError(f"num_runs is {num_runs}; at least 4 are needed")
    inner, outer = [], []
    for i, t in enumerate(values):
        keys = jax.random.split(jax.random.fold_in(rng_key, i), num_runs)
        populations, runs = _try(mean, keys, jnp.asarray(t, float))
        inner.append(np.median([_largest_rhat(each) for each in np.asarray(populations)]))
        outer.append(_largest_rhat(np.asarray(runs)) if t > 0 else 1.0)
    worst = np.maximum(inner, outer)
    best = int(np.argmin(worst))
    is_good = bool(worst[best] <= HIGHEST_RHAT)
    return StartChoice(values, np.array(inner), np.array(outer), float(values[best]), is_good)


@eqx.filter_jit
def _try(mean: InnerChains, keys: Array, t: Float[Array, ""]) -> tuple[Array, Array]:
    """Points of populations `(observation, population, point, dim)`, and of runs."""

    def one_run(rng_key: RngKey) -> tuple[Array, Array]:
        key_begin, key_observe, key_rounds = jax.random.split(rng_key, 3)
        begin = mean.reference.sample(key_begin, ())
        none = jnp.zeros((), begin.dtype)
        together = jnp.broadcast_to(begin, (mean.num_inner_chains, *begin.shape))
        y = mean.process.observe(key_observe, begin, t)

        def one_round(chains: Population, rng_key: RngKey) -> tuple[Population, Array]:
            chains = mean.renew(rng_key, chains, t)
            return chains, chains.points.reshape(mean.num_inner_chains, -1)

        chains = Population(together, y, t.astype(begin.dtype), none, none)
        keys = jax.random.split(key_rounds, 2 * mean.num_start)
        chains, points = jax.lax.scan(one_round, chains, keys)
        return chains.y, points[mean.num_start :].reshape(-1, points.shape[-1])

    def one_population(rng_key: RngKey, y: Array) -> Array:
        key_chains, key_move = jax.random.split(rng_key)
        chains = mean.population(key_chains, y, t)
        return mean.update(key_move, chains, y, t)[1].points.reshape(mean.num_inner_chains, -1)

    ys, runs = jax.vmap(one_run)(keys)
    again = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 1), len(keys)))(keys)
    populations = jax.vmap(jax.vmap(one_population, (0, None)))(again, ys)
    return populations, runs


def _largest_rhat(chains: np.ndarray) -> float:
    """Largest R-hat of chains `(chain, draw, dim)`; infinite if chains do not move."""
    from arviz_stats.base import array_stats

    with np.errstate(invalid="ignore", divide="ignore"):
        rhat = array_stats.rhat(chains, chain_axis=0, draw_axis=1, method="identity")
    return float(np.nan_to_num(np.max(rhat), nan=np.inf))
