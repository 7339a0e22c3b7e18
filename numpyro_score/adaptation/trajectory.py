"""Trajectory length: the one that maximises the effective sample size of the slowest coordinate.

A trajectory of `n` steps moves a coordinate `f` of a stationary chain from `f` to `f'`, and

    1 - rho(n) = E[(f' - f)^2] / (2 Var f)

is one minus the autocorrelation of successive draws. If lengths are uniform on `1 .. 2 N - 1`, it
is averaged over `n`; the effective sample size per draw is then about `(1 - rho) / (1 + rho)`, and
the cost per draw is `N` steps. The ratio of both is estimated for every coordinate, and for its
squared distance from the mean, from the moves of all chains in one window of the warmup. The `N`
that is chosen maximises the smallest of these ratios. Coordinates without squares would favour half
turns, which explore the means but not the variances.

Only powers of two are compared. Moves are counted in bins of lengths `1, 2-3, 4-7, ...`: bins 0 to
`k` are the lengths for `N = 2^k`, so that one window serves all smaller `N` too. If the largest `N`
is the best, the next window tries twice that; the last window, the longest, does not where an
earlier one found twice that to be worse.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from numpyro_score.adaptation import moments
from numpyro_score.adaptation.moments import Moments

NUM_BINS = 9
"""Trajectories have up to `2^9 - 1` steps, and 256 on average."""
START = 4.0
"""Mean number of steps of the first window."""


class TrajectorySearch(NamedTuple):
    """State of the search for a length.

    Attributes
    ----------
    mean_num_steps
        Mean number of integration steps to use.
    position
        Position of each chain after the last step, shape `(chain, dim)`.
    center
        Mean of the last window, about which squares are taken, shape `(dim,)`.
    moves
        By bin, sum of squared moves of coordinates and of their squares, `(bin, 2 dim)`.
    num_moves
        By bin, number of moves, `(bin,)`.
    values
        Moments of the coordinates and their squares in this window, of size `2 dim`.
    worse_from
        Twice the best mean number of steps of the last window that tried more than that, and found
        more to be worse; infinite if there was none.
    """

    mean_num_steps: Float[Array, ""]
    position: Float[Array, "chain dim"]
    center: Float[Array, " dim"]
    moves: Float[Array, "bin twice_dim"]
    num_moves: Float[Array, " bin"]
    values: Moments
    worse_from: Float[Array, ""]


def start_trajectory(
    position: Float[Array, "chain dim"], opening: int | Int[Array, ""] = 0
) -> TrajectorySearch:
    """Start with single steps in the opening, and with `START` where there is none."""
    dim, dtype = position.shape[1], position.dtype
    return TrajectorySearch(
        mean_num_steps=jnp.where(jnp.asarray(opening) > 0, 1.0, START).astype(dtype),
        position=position,
        center=jnp.mean(position, axis=0),
        moves=jnp.zeros((NUM_BINS, 2 * dim), dtype),
        num_moves=jnp.zeros(NUM_BINS, dtype),
        values=moments.empty(2 * dim, dtype, is_dense=False),
        worse_from=jnp.asarray(jnp.inf, dtype),
    )


def _with_squares(position: Array, center: Array) -> Array:
    return jnp.concatenate([position, (position - center) ** 2], axis=-1)


def record(
    search: TrajectorySearch,
    position: Float[Array, "chain dim"],
    num_steps: Float[Array, " chain"],
    weight: Float[Array, " chain"],
) -> TrajectorySearch:
    """Add the moves of one step.

    Parameters
    ----------
    search
        The search so far.
    position
        Where the chains are now, shape `(chain, dim)`.
    num_steps
        How many integration steps took them there, shape `(chain,)`.
    weight
        Weight of each chain, 0 or 1.
    """
    values = _with_squares(position, search.center)
    moved = values - _with_squares(search.position, search.center)
    squared = jnp.where(weight[:, None] > 0, moved**2, 0.0)
    place = jnp.floor(jnp.log2(jnp.maximum(num_steps, 1)) + 1e-3).astype(jnp.int32)
    chosen = (jnp.minimum(place, NUM_BINS - 1)[:, None] == jnp.arange(NUM_BINS)) * weight[:, None]
    return search._replace(
        position=position,
        moves=search.moves + chosen.T.astype(squared.dtype) @ squared,
        num_moves=search.num_moves + jnp.sum(chosen, axis=0),
        values=moments.update(search.values, values, weight),
    )


def efficiencies(search: TrajectorySearch) -> Float[Array, " bin"]:
    """Effective sample size per integration step, of the slowest coordinate, for `N = 2^k`.

    It is 0 if no trajectory was as long.
    """
    spread = moments.variance(search.values)
    count = jnp.maximum(search.num_moves, 1)[:, None]
    away = search.moves / count / (2 * jnp.where(spread > 0, spread, 1.0))
    # a coordinate that does not vary limits no length
    away = jnp.where(spread > 0, away, 2.0)
    length = 2.0 ** jnp.arange(NUM_BINS)
    share = jnp.cumsum(length[:, None] * away, axis=0) / (2 * length - 1)[:, None]
    worth = jnp.min(share / jnp.maximum(2 - share, 0.1), axis=1)
    return jnp.where(search.num_moves > 0, worth / length, 0.0)


def close_trajectory(
    search: TrajectorySearch,
    position: Float[Array, "chain dim"],
    *,
    is_opening: Any,
    is_first: Any,
    is_before_last: Any,
    is_last: Any,
) -> TrajectorySearch:
    """The search for the next window, with the length that this one has found.

    Parameters
    ----------
    search
        The search at the end of a window.
    position
        Where the chains go on from, shape `(chain, dim)`.
    is_opening
        Whether the next window belongs to the opening, where trajectories have one step.
    is_first
        Whether the next window is the first with trajectories.
    is_before_last
        Whether the next window is the last, in which nothing is tried that was worse before.
    is_last
        Whether no window follows, so that only lengths that were tried can be chosen.
    """
    best = jnp.argmax(efficiencies(search))
    longest = jnp.max(jnp.where(search.num_moves > 0, jnp.arange(NUM_BINS), 0))
    worse_from = jnp.where(best < longest, 2.0 ** (best + 1), search.worse_from)
    is_known = is_before_last & (2.0 ** (best + 1) >= worse_from)
    is_open = (best == longest) & ~is_known & jnp.logical_not(is_last)
    best = jnp.minimum(best + is_open, NUM_BINS - 1)
    is_found = (search.values.num_draws > 2) & jnp.logical_not(is_opening | is_first)
    found = jnp.where(is_found, 2.0**best, search.mean_num_steps)
    length = jnp.where(is_first, START, found)
    fresh = start_trajectory(position)
    return fresh._replace(
        mean_num_steps=length.astype(search.mean_num_steps.dtype),
        center=search.values.mean[: position.shape[1]],
        worse_from=jnp.where(is_found, worse_from, search.worse_from).astype(
            search.worse_from.dtype
        ),
    )
