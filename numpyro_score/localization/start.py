"""At which time chains can begin: early enough that `Y_t` mixes, late enough that `x` does.

At time 0 nothing is observed, and chains have to know the whole target at once. A first observation
at a later time helps them, but has to be found: `Y_t` and `x` are drawn in turn (`InnerChains`),
which forgets where it began only if the noise in `Y_t` blurs the modes (the duality of
log-concavity of Grenioux, Noble, Gabrie and Durmus 2024, arXiv:2402.10758, section 4). Each is
measured by R-hat over all points of populations that began apart: 1.05 says that their means differ
by .3 sd.
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
"""What is still taken for agreement."""


class StartChoice(NamedTuple):
    """How well each candidate time serves as a start.

    Attributes
    ----------
    times
        The candidates.
    inner_rhat
        Of populations for `x` given one and the same `Y_t`, the largest over coordinates, the
        median over observations. It falls with the time.
    outer_rhat
        Of runs that draw `Y_t` and `x` in turn, each from a place of its own. It rises with the
        time; 1 at time 0, where there is nothing to find.
    best
        The candidate with the least of the larger of the two.
    is_good
        Whether both are below 1.05 there. If not, no candidate serves this target with these
        chains: weights of modes are not to be trusted.

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
    """Try candidate times for the start of localization by inner chains.

    Parameters
    ----------
    mean
        The chains that are to be started.
    rng_key
        One random key.
    times
        Candidates of 0 or more, such as `[0, *numpy.geomspace(0.01, 1, 5) / variance]`.
    num_runs
        Populations, and observations, at each time.

    Raises
    ------
    ValueError
        If a time is negative, or there are fewer than 4 runs.

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
        raise ValueError(f"times are {values.tolist()}; candidates of 0 or more are needed")
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
    """Of `(chain, draw, dim)`; infinite where chains stand still."""
    from arviz_stats.base import array_stats

    with np.errstate(invalid="ignore", divide="ignore"):
        rhat = array_stats.rhat(chains, chain_axis=0, draw_axis=1, method="identity")
    return float(np.nan_to_num(np.max(rhat), nan=np.inf))
