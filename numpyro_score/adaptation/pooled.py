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
4.  *Close*, the last fifth: only the step size is adapted.

A chain contributes to the moments only if its log density is above the median over chains minus
`10 dim`. At the end of a window, a chain more than `10 dim` below the .9 quantile restarts from the
position of another chain. Both prevent chains that are stuck in the tails from distorting `P`.
Restarts happen in warmup only and are counted. Switch them off for targets whose modes differ
greatly in density.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from numpyro_score.adaptation import moments
from numpyro_score.adaptation.metric import Estimator
from numpyro_score.adaptation.moments import Moments
from numpyro_score.adaptation.step_size import (
    StepSizeSearch,
    log_found,
    start_search,
    update_search,
)
from numpyro_score.adaptation.windows import (
    CLOSE,
    OPENING,
    absorb,
    first_windows,
    fraction,
    next_window,
)
from numpyro_score.preconditioner import Preconditioner
from numpyro_score.step_size import follow_acceptance
from numpyro_score.types import RngKey

OPENING_GAIN = 2.0
"""`d log eps / d acceptance` in the opening."""
STUCK_DEPTH = 10.0
"""Difference in log density, per dimension, at which a chain is taken to be stuck."""
RESTART_QUANTILE = 0.9


class PooledState(NamedTuple):
    """State of a pooled warmup over `chain` chains.

    Attributes
    ----------
    step, num_warmup
        Steps taken, and total number of steps.
    window_end, window_length
        Step at which the current window ends, and its nominal length.
    log_step_size
        Log step size of each chain, shape `(chain,)`.
    preconditioner
        The current `P`, shared by all chains.
    dual_averaging
        State of the search for the shared step size.
    draws, grads
        Moments of positions and gradients in the current window.
    num_restarts
        How often each chain was restarted, shape `(chain,)`.
    """

    step: Int[Array, ""]
    num_warmup: Int[Array, ""]
    window_end: Int[Array, ""]
    window_length: Int[Array, ""]
    log_step_size: Float[Array, " chain"]
    preconditioner: Preconditioner
    dual_averaging: StepSizeSearch
    draws: Moments
    grads: Moments
    num_restarts: Int[Array, " chain"]


def map_per_chain(change: Callable[[Array], Array], state: PooledState) -> PooledState:
    """The state with its fields of shape `(chain,)` changed, and the shared ones left alone."""
    return state._replace(
        log_step_size=change(state.log_step_size), num_restarts=change(state.num_restarts)
    )


class PooledWarmup(NamedTuple):
    """The functions of a warmup.

    Attributes
    ----------
    init
        `(position (chain, dim), grad (chain, dim), step_size, preconditioner, num_warmup)` ->
        state. The gradients may be None, and `P` too, which is then estimated at the start.
    update
        `(state, rng_key, position, grad, logdensity (chain,), acceptance_rate (chain,))` ->
        `(state, source)`: chain i continues from the position of chain `source[i]`.
    final
        state -> state with the final parameters: the averaged step size, for every chain.
    """

    init: Callable[..., PooledState]
    update: Callable[..., tuple[PooledState, Int[Array, " chain"]]]
    final: Callable[[PooledState], PooledState]


def _first_preconditioner(
    position: Float[Array, "chain dim"], grad: Float[Array, "chain dim"] | None, *, is_dense: bool
) -> Preconditioner:
    """Diagonal `P` at the start: sd of the positions (1 if it is 0) over rms of the gradients."""
    spread = jnp.std(position, axis=0)
    # without gradients there is no scale: the identity
    size = jnp.zeros_like(spread) if grad is None else jnp.sqrt(jnp.mean(grad**2, axis=0))
    diagonal = jnp.where(spread > 0, spread, 1.0) / jnp.maximum(size, 1e-10)
    diagonal = jnp.where(jnp.isfinite(diagonal) & (size > 0), jnp.clip(diagonal, 1e-10, 1e10), 1.0)
    root = jnp.sqrt(diagonal)
    if is_dense:
        return Preconditioner(jnp.diag(diagonal), jnp.diag(root))
    return Preconditioner(diagonal, root)


def _is_usable(new: Preconditioner) -> Array:
    return jnp.all(jnp.isfinite(new.factor)) & jnp.all(jnp.isfinite(new.inverse_mass_matrix))


def pooled_warmup(
    *,
    target_acceptance_rate: float,
    estimator: Estimator,
    is_dense: bool,
    optimal_step_size: Callable[[int], float] | None = None,
    adapt_step_size: bool = True,
    adapt_mass_matrix: bool = True,
    restart_stuck_chains: bool = True,
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
        size restarts after each window; None restarts it from its current average.
    adapt_step_size, adapt_mass_matrix
        Whether to adapt each; otherwise it stays as given.
    restart_stuck_chains
        Whether chains with far lower log densities restart from another chain at a window's end.
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
            preconditioner = _first_preconditioner(position, grad, is_dense=is_dense)
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
            num_restarts=jnp.zeros(num_chains, jnp.int32),
        )

    def close_window(
        state: PooledState, rng_key: RngKey, logdensity: Float[Array, " chain"], dim: int
    ) -> tuple[PooledState, Int[Array, " chain"]]:
        """Re-estimate `P`, restart the search for the step size, restart stuck chains."""
        num_chains = logdensity.size
        source = jnp.arange(num_chains)
        if adapt_mass_matrix:
            new = estimator.estimate(state.draws, state.grads)
            is_usable = _is_usable(new) & (state.draws.num_draws > 2)
            preconditioner = jax.tree.map(
                lambda a, b: jnp.where(is_usable, a, b), new, state.preconditioner
            )
            nothing = moments.empty(dim, state.draws.mean.dtype, is_dense=is_dense)
            state = state._replace(preconditioner=preconditioner, draws=nothing, grads=nothing)
        if adapt_step_size:
            is_opening = state.window_end < fraction(OPENING, state.num_warmup)
            if optimal_step_size is not None and adapt_mass_matrix:
                start = jnp.asarray(optimal_step_size(max(dim, 1)), state.log_step_size.dtype)
            else:
                own = jnp.median(state.log_step_size)
                start = jnp.exp(log_found(state.dual_averaging, otherwise=own))
            state = state._replace(
                log_step_size=jnp.where(is_opening, state.log_step_size, jnp.log(start)),
                dual_averaging=start_search(start),
            )
        if restart_stuck_chains and num_chains > 1:
            level = jnp.where(jnp.isfinite(logdensity), logdensity, -jnp.inf)
            is_stuck = level < jnp.quantile(level, RESTART_QUANTILE) - STUCK_DEPTH * dim
            donors = jnp.where(is_stuck, -jnp.inf, 0.0)
            donor = jax.random.categorical(rng_key, donors, shape=(num_chains,))
            source = jnp.where(is_stuck, donor, source)
            state = state._replace(
                log_step_size=state.log_step_size[source],
                num_restarts=state.num_restarts + is_stuck,
            )
        first_window = first_windows(estimator, num_chains, dim)[1]
        window_end, window_length = next_window(
            state.window_end, state.window_length, state.num_warmup, first_window
        )
        return state._replace(window_end=window_end, window_length=window_length), source

    def update(
        state: PooledState,
        rng_key: RngKey,
        position: Float[Array, "chain dim"],
        grad: Float[Array, "chain dim"] | None,
        logdensity: Float[Array, " chain"],
        acceptance_rate: Float[Array, " chain"],
    ) -> tuple[PooledState, Int[Array, " chain"]]:
        num_chains, dim = position.shape
        is_opening = state.step < fraction(OPENING, state.num_warmup)
        if adapt_mass_matrix:
            counts = logdensity > jnp.median(logdensity) - STUCK_DEPTH * dim
            counts = (counts | (num_chains == 1)) & (
                state.step < state.num_warmup - fraction(CLOSE, state.num_warmup)
            )
            weight = counts.astype(position.dtype)
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
            state = state._replace(
                log_step_size=jnp.where(is_opening, own, shared.log_step_size),
                dual_averaging=jax.tree.map(
                    lambda new, old: jnp.where(is_opening, old, new), shared, state.dual_averaging
                ),
            )
        state = state._replace(step=state.step + 1)
        return jax.lax.cond(
            state.step == state.window_end,
            lambda: close_window(state, rng_key, logdensity, dim),
            lambda: (state, jnp.arange(num_chains)),
        )

    def final(state: PooledState) -> PooledState:
        if not adapt_step_size:
            return state
        # a warmup that ends in the opening has only the chains' own step sizes
        own = jnp.median(state.log_step_size)
        log_shared = log_found(state.dual_averaging, otherwise=own)
        return state._replace(log_step_size=jnp.full_like(state.log_step_size, log_shared))

    return PooledWarmup(init, update, final)
