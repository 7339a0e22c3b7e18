"""Warmup pooled over chains: one step size and one preconditioner, learned from all of them.

The functions `init`, `update` and `final` are called in a sampler's own scan. All lengths are
traced numbers, so that another `num_warmup` does not compile again. With one chain it is an
ordinary single-chain warmup. For `N` steps:

1.  The first `P` is diagonal, from the gradients at the starting points.
2.  *Opening*, the first fifth: every chain has its own step size, which follows its acceptance rate
    closely, and `P` is estimated in short windows of doubling length. Chains that start in regions
    of different curvature all reach the typical set.
3.  *Windows*, the middle: windows of doubling length, after each of which `P` is estimated and the
    search for the shared step size by dual averaging (Hoffman and Gelman 2014, arXiv:1111.4246)
    restarts.
4.  *Close*, the last fifth: only the step size is adapted, first by the search. In the last 12% of
    the warmup the step size that it has found runs, and is corrected until its acceptance is right.

A chain contributes to the moments only if its log density is above the median over chains minus
`10 dim`, and, after the opening, only if it is not far below the others (`stuck.py`). At the end of
the opening and of every window after it a chain far below the others restarts from the position of
another chain, and so does one that accepts nothing where the others do, at the end of the warmup
too. Otherwise chains stuck in the tails, or in a mode of far lower density, would distort `P`, or
never move again. Restarts happen in warmup only. They are counted, except those of chains whose log
density rose by at least a tenth of the distance to the others within the window. Switch restarts
off for targets whose modes differ greatly in density.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.adaptation import moments
from numpyro_score.adaptation.friction import close_friction, record_friction, start_friction
from numpyro_score.adaptation.metric import Estimator, first_preconditioner, is_usable_metric
from numpyro_score.adaptation.order import median
from numpyro_score.adaptation.restart import nothing_accepted, restart
from numpyro_score.adaptation.state import PooledState
from numpyro_score.adaptation.step_size import correct, log_found, start_search, update_search
from numpyro_score.adaptation.stuck import (
    MAX_DEPTH,
    Depths,
    depths,
    far_below,
    is_arriving,
    is_frozen,
)
from numpyro_score.adaptation.trajectory import close_trajectory, record, start_trajectory
from numpyro_score.adaptation.windows import (
    OPENING,
    absorb,
    check_start,
    close_start,
    first_windows,
    fraction,
    next_window,
)
from numpyro_score.preconditioner import Preconditioner
from numpyro_score.step_size import follow_acceptance
from numpyro_score.types import RngKey

OPENING_GAIN = 2.0
"""`d log eps / d acceptance` in the opening."""
MAX_GROWTH = 4.0
"""Largest ratio of the first step size with a new `P` to the step size that was found before."""


class PooledWarmup(NamedTuple):
    """The functions of a warmup.

    Attributes
    ----------
    init
        `(position (chain, dim), grad (chain, dim), step_size, preconditioner, num_warmup)` ->
        state. The gradients may be None, and `P` too, which is then estimated at the start.
    update
        `(state, rng_key, position, grad, logdensity (chain,), acceptance_rate (chain,),
        num_steps (chain,))` -> `(state, source)`: chain i continues from the position of chain
        `source[i]`. `num_steps`, the integration steps of the last trajectories, is needed where
        their length is learned.
    final
        state -> state with the final parameters: the averaged step size, for every chain.
    """

    init: Callable[..., PooledState]
    update: Callable[..., tuple[PooledState, Int[Array, " chain"]]]
    final: Callable[[PooledState], PooledState]


def pooled_warmup(
    *,
    target_acceptance_rate: float,
    estimator: Estimator,
    is_dense: bool,
    optimal_step_size: Callable[[int], float] | None = None,
    adapt_step_size: bool = True,
    adapt_mass_matrix: bool = True,
    restart_stuck_chains: bool = True,
    adapt_trajectory: bool = False,
    adapt_friction: bool = False,
) -> PooledWarmup:
    """Build a pooled warmup.

    Parameters
    ----------
    target_acceptance_rate
        Target of the mean acceptance rate over chains.
    estimator
        `metric.fisher` with gradients, `metric.sample_covariance` without.
    is_dense
        Whether `P` is a matrix.
    optimal_step_size
        dim -> step size that is optimal for a good `P`, from which the search for the shared step
        size restarts after each window, unless it is more than `MAX_GROWTH` times what was found
        before; None restarts it from its current average.
    adapt_step_size, adapt_mass_matrix
        Whether to adapt each; otherwise it stays as given.
    restart_stuck_chains
        Whether stuck chains restart from another chain.
    adapt_trajectory
        Whether to learn how many integration steps a trajectory has (`trajectory.py`). In the
        opening it has one.
    adapt_friction
        Whether to learn the friction of a velocity (`friction.py`).
    """

    def init(
        position: Float[Array, "chain dim"],
        grad: Float[Array, "chain dim"] | None,
        step_size: float | Array,
        preconditioner: Preconditioner | None,
        num_warmup: int | Int[Array, ""],
    ) -> PooledState:
        num_chains, dim = position.shape
        if preconditioner is None:
            preconditioner = first_preconditioner(position, grad, is_dense=is_dense)
        length = jnp.asarray(num_warmup, jnp.int32)
        opening_end = fraction(OPENING, length)
        first = jnp.asarray(first_windows(estimator, num_chains, dim)[0], jnp.int32)
        step_size = jnp.asarray(step_size, position.dtype)
        nothing = moments.empty(dim, position.dtype, is_dense=is_dense)
        return PooledState(
            step=jnp.zeros((), jnp.int32),
            num_warmup=length,
            window_end=absorb(first, first, opening_end),
            window_length=first,
            log_step_size=jnp.full(num_chains, jnp.log(step_size), position.dtype),
            preconditioner=preconditioner,
            dual_averaging=start_search(step_size),
            draws=nothing,
            grads=nothing,
            level=jnp.full(num_chains, -jnp.inf, position.dtype),
            num_restarts=jnp.zeros(num_chains, jnp.int32),
            accepted=jnp.zeros(num_chains, position.dtype),
            num_looked=jnp.zeros((), jnp.int32),
            trajectory=start_trajectory(position, opening_end) if adapt_trajectory else None,
            friction=start_friction(position) if adapt_friction else None,
        )

    def close_window(
        state: PooledState,
        rng_key: RngKey,
        position: Float[Array, "chain dim"],
        logdensity: Float[Array, " chain"],
        levels: Depths,
        is_low: Bool[Array, " chain"],
    ) -> tuple[PooledState, Int[Array, " chain"]]:
        """Re-estimate `P`, restart the search for the step size, restart stuck chains.

        At the end of the warmup nothing is learned: only what froze in the meantime restarts.
        """
        num_chains, dim = position.shape
        opening_end = fraction(OPENING, state.num_warmup)
        is_end = state.step != state.window_end

        def change(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(is_end, b, a), new, old)

        if adapt_mass_matrix:
            new = estimator.estimate(state.draws, state.grads)
            is_usable = is_usable_metric(new) & (state.draws.num_draws > 2) & ~is_end
            preconditioner = jax.tree.map(
                lambda a, b: jnp.where(is_usable, a, b), new, state.preconditioner
            )
            nothing = moments.empty(dim, state.draws.mean.dtype, is_dense=is_dense)
            state = state._replace(preconditioner=preconditioner, draws=nothing, grads=nothing)
        if adapt_step_size:
            is_opening = state.window_end < opening_end
            own = median(state.log_step_size)
            found = jnp.exp(log_found(state.dual_averaging, otherwise=own))
            if optimal_step_size is not None and adapt_mass_matrix:
                optimal = jnp.asarray(optimal_step_size(max(dim, 1)), state.log_step_size.dtype)
                # what was far too long for the last `P` may be so for this one
                start = jnp.minimum(optimal, MAX_GROWTH * found)
            else:
                start = found
            keeps = is_opening | is_end
            state = state._replace(
                log_step_size=jnp.where(keeps, state.log_step_size, jnp.log(start)),
                dual_averaging=change(start_search(start), state.dual_averaging),
            )
        source = jnp.arange(num_chains)
        if restart_stuck_chains:
            has_opened = state.window_end >= opening_end
            frozen = is_frozen(state.accepted, state.num_looked) & (has_opened | is_end)
            is_stuck = frozen | (is_low & has_opened & ~is_end)
            is_counted = frozen | ~is_arriving(state.level, logdensity, levels)
            state, source = restart(state, rng_key, is_stuck, is_counted)
        level = logdensity[source].astype(state.level.dtype)
        state = nothing_accepted(state)._replace(level=level)
        after = first_windows(estimator, num_chains, dim)[1]
        end, length = next_window(state.window_end, state.window_length, state.num_warmup, after)
        if state.trajectory is not None:
            last_end = close_start(state.num_warmup)
            trajectory = close_trajectory(
                state.trajectory,
                position[source],
                is_opening=state.window_end < opening_end,
                is_first=state.window_end == opening_end,
                is_before_last=end == last_end,
                is_last=state.window_end >= last_end,
            )
            state = state._replace(trajectory=change(trajectory, state.trajectory))
        if state.friction is not None:
            since, old = state.window_end - opening_end, state.friction
            friction = close_friction(old, position[source], state.preconditioner, since)
            state = state._replace(friction=change(friction, old))
        return state._replace(window_end=end, window_length=length), source

    def update(
        state: PooledState,
        rng_key: RngKey,
        position: Float[Array, "chain dim"],
        grad: Float[Array, "chain dim"] | None,
        logdensity: Float[Array, " chain"],
        acceptance_rate: Float[Array, " chain"],
        num_steps: Float[Array, " chain"] | None = None,
    ) -> tuple[PooledState, Int[Array, " chain"]]:
        num_chains, dim = position.shape
        is_opening = state.step < fraction(OPENING, state.num_warmup)
        levels = depths(logdensity)
        is_low = far_below(levels, dim)
        if adapt_mass_matrix or adapt_trajectory or adapt_friction:
            is_near = levels.depth < levels.median + MAX_DEPTH * dim
            counts = jnp.isfinite(logdensity) & is_near & (is_opening | ~is_low)
            counts = (counts | (num_chains == 1)) & (state.step < close_start(state.num_warmup))
            weight = counts.astype(position.dtype)
        if state.trajectory is not None:
            assert num_steps is not None
            state = state._replace(trajectory=record(state.trajectory, position, num_steps, weight))
        if state.friction is not None:
            state = state._replace(friction=record_friction(state.friction, position, weight))
        if adapt_mass_matrix:
            state = state._replace(draws=moments.update(state.draws, position, weight))
            if grad is not None:
                state = state._replace(grads=moments.update(state.grads, grad, weight))
        if adapt_step_size:
            own = follow_acceptance(
                state.log_step_size, acceptance_rate, target_acceptance_rate, gain=OPENING_GAIN
            )
            shared = update_search(
                state.dual_averaging, jnp.mean(acceptance_rate), target_acceptance_rate
            )
            # what the search has found, from the first step of the check on
            num_checks = state.step + 1 - check_start(state.num_warmup)
            searched = jnp.where(num_checks == 0, shared.log_step_size_avg, shared.log_step_size)
            checked = correct(
                state.log_step_size,
                jnp.mean(acceptance_rate),
                target_acceptance_rate,
                jnp.maximum(num_checks - 1, 0),
            )
            is_searching = ~is_opening & (num_checks <= 0)
            state = state._replace(
                log_step_size=jnp.where(
                    is_opening, own, jnp.where(num_checks > 0, checked, searched)
                ),
                dual_averaging=jax.tree.map(
                    lambda new, old: jnp.where(is_searching, new, old), shared, state.dual_averaging
                ),
            )
        state = state._replace(
            step=state.step + 1,
            accepted=state.accepted + acceptance_rate.astype(state.accepted.dtype),
            num_looked=state.num_looked + 1,
        )
        return jax.lax.cond(
            (state.step == state.window_end) | (state.step == state.num_warmup),
            lambda: close_window(state, rng_key, position, logdensity, levels, is_low),
            lambda: (state, jnp.arange(num_chains)),
        )

    def final(state: PooledState) -> PooledState:
        if not adapt_step_size:
            return state
        # a warmup that ends in the opening has only the chains' own step sizes
        own = median(state.log_step_size)
        log_shared = log_found(state.dual_averaging, otherwise=own)
        is_checked = check_start(state.num_warmup) < state.num_warmup
        log_shared = jnp.where(is_checked, own, log_shared)
        return state._replace(log_step_size=jnp.full_like(state.log_step_size, log_shared))

    return PooledWarmup(init, update, final)
