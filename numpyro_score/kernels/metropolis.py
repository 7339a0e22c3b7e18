"""Metropolis-Hastings: the only accept/reject step of the package.

A candidate `x'` drawn from `q(. | x)` is accepted with probability

    min(1, (p(x') / p(x))^(1/T) * q(x | x') / q(x' | x)),

which leaves `p^(1/T)` invariant for any `q` (Hastings 1970, doi:10.1093/biomet/57.1.97).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind, evaluate
from numpyro_score.types import LogDensityFn, Position, RngKey, Scalar, Temperature

if TYPE_CHECKING:
    import blackjax

Proposal = Callable[[RngKey, Position], tuple[Position, Float[Array, ""]]]
"""`(rng_key, x) -> (x', log q(x | x') - log q(x' | x))`."""


class MetropolisState(NamedTuple):
    """State of a Metropolis-Hastings chain.

    Attributes
    ----------
    position
        Current position, a pytree.
    logdensity
        Its log density, a scalar.
    step
        Number of steps taken, the argument of a temperature schedule.
    """

    position: Position
    logdensity: Float[Array, ""]
    step: Int[Array, ""]


class MetropolisInfo(NamedTuple):
    """What happened in one accept/reject step.

    Attributes
    ----------
    acceptance_rate
        Acceptance probability of the candidate, in [0, 1].
    is_accepted
        Whether it was accepted.
    is_divergent
        Whether it was rejected because its log density or gradient was NaN or +inf.
    """

    acceptance_rate: Float[Array, ""]
    is_accepted: Bool[Array, ""]
    is_divergent: Bool[Array, ""]


def temperature_at(temperature: Temperature, step: Int[Array, ""]) -> Scalar:
    """Temperature at `step`: the number itself, or the value of the schedule."""
    return temperature(step) if callable(temperature) else temperature


def tempered(log_ratio: Float[Array, ""], temperature: Scalar) -> Float[Array, ""]:
    """`log_ratio / T`; at T = 0 its limit, +inf for uphill moves and -inf for all others."""
    if isinstance(temperature, int | float) and temperature == 1:
        return log_ratio
    frozen = jnp.where(log_ratio > 0, jnp.inf, -jnp.inf)
    return jnp.where(temperature == 0, frozen, log_ratio / temperature)


def accept_reject[State](
    rng_key: RngKey,
    state: State,
    candidate: State,
    *,
    log_ratio: Float[Array, ""],
    logdensity: Float[Array, ""],
    temperature: Scalar = 1.0,
    is_adjusted: bool | Bool[Array, ""] = True,
    is_valid: bool | Bool[Array, ""] = True,
) -> tuple[State, MetropolisInfo]:
    """Move to the candidate with the Metropolis-Hastings probability, or stay.

    A candidate of log density -inf is outside of the support and rejected. One of log density NaN
    or +inf, or one that is not valid, is rejected and counted as divergent.

    Parameters
    ----------
    rng_key
        One random key.
    state, candidate
        Current and proposed state, pytrees of the same structure.
    log_ratio
        `T` times the logarithm of the acceptance ratio. At T = 0 a candidate is accepted if and
        only if this is positive.
    logdensity
        Log density of the candidate.
    temperature
        `T >= 0`, a number (not a schedule).
    is_adjusted
        False accepts every finite candidate, for unadjusted kernels.
    is_valid
        Whether other parts of the candidate, such as its gradient, are finite.

    Returns
    -------
    The next state and what happened.
    """
    is_outside = logdensity == -jnp.inf
    is_divergent = ~is_outside & ~(jnp.isfinite(logdensity) & is_valid & ~jnp.isnan(log_ratio))
    is_refused = is_outside | is_divergent
    probability = jnp.exp(jnp.minimum(tempered(log_ratio, temperature), 0.0))
    probability = jnp.where(is_refused, 0.0, jnp.where(is_adjusted, probability, 1.0))
    is_accepted = jax.random.uniform(rng_key, dtype=probability.dtype) < probability
    state = jax.tree.map(lambda new, old: jnp.where(is_accepted, new, old), candidate, state)
    return state, MetropolisInfo(probability, is_accepted, is_divergent)


def init(position: Position, logdensity_fn: LogDensityFn) -> MetropolisState:
    """State of a chain that starts at `position`.

    Raises
    ------
    ValueError, TypeError
        If the log density is no scalar or the position holds integers.
    """
    return MetropolisState(position, evaluate(logdensity_fn, position), jnp.zeros((), jnp.int32))


def build_kernel() -> Callable[..., tuple[MetropolisState, MetropolisInfo]]:
    """Build the Metropolis-Hastings kernel `(rng_key, state, logdensity_fn, proposal)`."""

    def kernel(
        rng_key: RngKey,
        state: MetropolisState,
        logdensity_fn: LogDensityFn,
        proposal: Proposal,
        temperature: Temperature = 1.0,
    ) -> tuple[MetropolisState, MetropolisInfo]:
        key_propose, key_accept = jax.random.split(rng_key)
        now = temperature_at(temperature, state.step)
        position, log_correction = proposal(key_propose, state.position)
        logdensity = logdensity_fn(position)
        step = state.step + 1
        return accept_reject(
            key_accept,
            state._replace(step=step),
            MetropolisState(position, logdensity, step),
            log_ratio=logdensity - state.logdensity + now * log_correction,
            logdensity=logdensity,
            temperature=now,
        )

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn, proposal: Proposal, temperature: Temperature = 1.0
) -> "blackjax.SamplingAlgorithm":
    """Metropolis-Hastings with any proposal.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized.
    proposal
        `(rng_key, x) -> (x', log q(x | x') - log q(x' | x))`: a candidate and its Hastings
        correction, 0 for a symmetric proposal. `numpyro_score.kernels.proposals` has some.
    temperature
        A number, or a function of the number of steps taken; T samples `p^(1/T)`.

    Examples
    --------
    A multiplicative move on a positive coordinate, whose correction is `log(x' / x)`:

    >>> import jax, jax.numpy as jnp
    >>> def scale_move(rng_key, x):
    ...     log_factor = 0.5 * jax.random.normal(rng_key, x.shape)
    ...     return x * jnp.exp(log_factor), jnp.sum(log_factor)
    >>> algorithm = metropolis_hastings(lambda x: -jnp.sum(x), scale_move)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.ones(1)))
    >>> bool(state.position[0] > 0)
    True
    """
    parameters = {"proposal": proposal, "temperature": temperature}
    return bind(build_kernel(), init, logdensity_fn, parameters)


metropolis_hastings = MarkovKernel(as_top_level_api, init, build_kernel)
