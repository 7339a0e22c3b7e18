"""A local step size: chosen anew at every move, and reversibly.

Let `l(h)` be the logarithm of the acceptance ratio of a move with step `h` and a velocity that was
drawn for it. Two thresholds `a < b` are drawn uniformly from `0 < a < b < 1`. From a first `h`, the
one that warmup found,

* `h` is doubled while `|l| < |log b|`, and the last but one is taken: longer moves are possible;
* `h` is halved while `|l| > |log a|`: the move is too long here;
* else it stays.

The move is accepted with probability `min(1, exp(l))` if the same rule, applied at its end with the
velocity reversed and the same thresholds, chooses the same `h`; otherwise it is rejected. This
makes the chain reversible (Biron-Lattes et al. 2024, arXiv:2310.16782; this symmetric rule is that
of Liu et al. 2025, arXiv:2410.18929; the general argument Bou-Rabee, Carpenter and Marsden 2024,
arXiv:2404.15253).

A move is tried at least twice, there and back, and about four times on average. It is for densities
whose scale varies, such as funnels; where one step size fits everywhere, it only costs.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.kernels.langevin import LangevinState
from numpyro_score.kernels.metropolis import accept_reject
from numpyro_score.types import RngKey

MAX_TRIALS = 12
"""Most doublings or halvings of `h`; a move that asks for more is rejected."""

type Move = Callable[[Point, Int[Array, ""]], tuple[Point, Float[Array, ""]]]
"""`(start, exponent)` -> end, and logarithm of the acceptance ratio, for `2^exponent` times the
first `h`. Moves from the end, with the velocity reversed, lead back to the start."""


class Point(NamedTuple):
    """A point of phase space, with the log density at its position and the gradient.

    Attributes
    ----------
    position, velocity, grad
        Flat, `(dim,)`; the velocity in whitened coordinates.
    logdensity
        A scalar.
    """

    position: Float[Array, " dim"]
    velocity: Float[Array, " dim"]
    logdensity: Float[Array, ""]
    grad: Float[Array, " dim"]


class Found(NamedTuple):
    """What a search for a step size has found.

    Attributes
    ----------
    exponent
        `log2` of the ratio of `h` to the first.
    end, log_ratio
        Where it leads, and the logarithm of the acceptance ratio.
    first_log_ratio
        That of the first `h`.
    direction
        1 while doubling, -1 while halving, 0 where the first `h` stays.
    num_trials
        Moves tried.
    is_done
        Whether the search ended by its rule.
    """

    exponent: Int[Array, ""]
    end: Point
    log_ratio: Float[Array, ""]
    first_log_ratio: Float[Array, ""]
    direction: Int[Array, ""]
    num_trials: Int[Array, ""]
    is_done: Bool[Array, ""]


def _search(
    move: Callable[[Point, Array], tuple[Point, Array]],
    start: Point,
    thresholds: Float[Array, " 2"],
) -> Found:
    """The step size at a point; `thresholds` are `|log b|` and `|log a|`, in this order."""
    low, high = thresholds

    def go_on(search: Found) -> Array:
        return ~search.is_done & (search.num_trials <= MAX_TRIALS)

    def try_one(search: Found) -> Found:
        is_first = search.num_trials == 0
        exponent = search.exponent + search.direction
        end, log_ratio = move(start, exponent)
        size = jnp.where(jnp.isnan(log_ratio), jnp.inf, jnp.abs(log_ratio))
        wish = jnp.where(size < low, 1, jnp.where(size > high, -1, 0))
        direction = jnp.where(is_first, wish, search.direction)
        is_over = jnp.where(direction > 0, size >= low, size <= high)
        # a doubling that went too far is taken back
        is_kept = is_first | (direction < 0) | ~is_over
        exponent, end, log_ratio = jax.tree.map(
            lambda new, old: jnp.where(is_kept, new, old),
            (exponent, end, log_ratio),
            (search.exponent, search.end, search.log_ratio),
        )
        return Found(
            exponent=exponent,
            end=end,
            log_ratio=log_ratio,
            first_log_ratio=jnp.where(is_first, log_ratio, search.first_log_ratio),
            direction=direction,
            num_trials=search.num_trials + 1,
            is_done=jnp.where(is_first, wish == 0, is_over),
        )

    zero = jnp.zeros((), jnp.int32)
    none = jnp.zeros_like(start.logdensity)
    return jax.lax.while_loop(
        go_on, try_one, Found(zero, start, none, none, zero, zero, jnp.zeros((), bool))
    )


def there_and_back(
    rng_key: RngKey, move: Move, start: Point
) -> tuple[Found, Bool[Array, ""], Int[Array, ""]]:
    """A move with a step size chosen for it.

    Parameters
    ----------
    rng_key
        One random key, for the thresholds.
    move
        One move with a given step size.
    start
        Where it starts, with the velocity that was drawn for it.

    Returns
    -------
    What was found at the start, whether the same step size is found at the end, and how many moves
    were tried in all.
    """
    tiny = jnp.finfo(start.logdensity.dtype).tiny
    two = jax.random.uniform(rng_key, (2,), start.logdensity.dtype, minval=tiny)
    one, other = -jnp.log(two)
    # not a sort, with which XLA compiles a small loop on a CPU for longer
    thresholds = jnp.stack([jnp.minimum(one, other), jnp.maximum(one, other)])

    def one_way(start: Point, _: None) -> tuple[Point, Found]:
        found = _search(move, start, thresholds)
        return found.end._replace(velocity=-found.end.velocity), found

    # a loop of two, so that the log density is compiled once
    _, both = jax.lax.scan(one_way, start, None, length=2)
    there = jax.tree.map(lambda leaf: leaf[0], both)
    is_reversible = jnp.all(both.is_done) & (both.exponent[0] == both.exponent[1])
    return there, is_reversible, jnp.sum(both.num_trials)


class LocalStepInfo(NamedTuple):
    """What happened in one step of a kernel that chooses its step size at every move.

    Attributes
    ----------
    acceptance_rate, is_accepted, is_divergent
        As in `MetropolisInfo`.
    num_integration_steps
        Integration steps of all moves tried, there and back.
    step_size
        The step size of the move.
    """

    acceptance_rate: Float[Array, ""]
    is_accepted: Bool[Array, ""]
    is_divergent: Bool[Array, ""]
    num_integration_steps: Int[Array, ""]
    step_size: Float[Array, ""]


def local_step(
    rng_key: RngKey,
    state: LangevinState,
    velocity: Float[Array, " dim"],
    move: Move,
    step_size_at: Callable[[Array], Array],
    *,
    steps_per_move: int | Int[Array, ""] = 1,
    reports_first: bool = False,
) -> tuple[LangevinState, LocalStepInfo]:
    """One step of a chain: a move with a step size chosen for it, accepted or rejected.

    Parameters
    ----------
    rng_key
        One random key.
    state
        The chain.
    velocity
        Drawn for the move, flat.
    move
        One move with a given step size.
    step_size_at
        Exponent -> step size, as it is reported.
    steps_per_move
        Integration steps of a move.
    reports_first
        Whether the acceptance rate is that of the first step size, by which a warmup finds where
        searches should start.
    """
    key_thresholds, key_accept = jax.random.split(rng_key)
    x, unravel = ravel_pytree(state.position)
    start = Point(x, velocity, state.logdensity, ravel_pytree(state.logdensity_grad)[0])
    there, is_reversible, num_trials = there_and_back(key_thresholds, move, start)
    end, step = there.end, state.step + 1
    # -inf where the way back is not found; NaN stays NaN, and is counted as divergent
    is_kept = is_reversible | jnp.isnan(there.log_ratio)
    new, info = accept_reject(
        key_accept,
        state._replace(step=step),
        LangevinState(unravel(end.position), end.logdensity, unravel(end.grad), step),
        log_ratio=jnp.where(is_kept, there.log_ratio, -jnp.inf),
        logdensity=end.logdensity,
        is_valid=jnp.all(jnp.isfinite(end.grad)),
    )
    first = jnp.exp(jnp.minimum(jnp.nan_to_num(there.first_log_ratio, nan=-jnp.inf), 0.0))
    return new, LocalStepInfo(
        first if reports_first else info.acceptance_rate,
        info.is_accepted,
        info.is_divergent,
        steps_per_move * num_trials,
        step_size_at(there.exponent.astype(x.dtype)),
    )
