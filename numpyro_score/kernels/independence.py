"""Independence Metropolis-Hastings: candidates from a fixed distribution `q`, weights `w = p / q`.

The candidate is accepted with probability `min(1, w(x') / w(x))`. The chain is exact wherever
`q > 0` covers the target's support, and mixes well only where `w` is bounded
(Tierney 1994, doi:10.1214/aos/1176325750): a point of large weight holds the chain for about
`w / E[w]` steps, so `log_weight` is reported with every step.

`independence_jump` is the accept/reject step for the state of any kernel; every kernel with an
independence proposal uses it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind, evaluate
from numpyro_score.kernels.metropolis import MetropolisInfo, accept_reject
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.types import LogDensityFn, Position, RngKey

if TYPE_CHECKING:
    import blackjax


class IndependenceState(NamedTuple):
    """State of an independence sampler.

    Attributes
    ----------
    position
        Where the chain is, a pytree.
    logdensity
        Log density of the target there, scalar.
    log_proposal
        Log density of the proposal there, carried so that it is evaluated once a candidate.
    """

    position: Position
    logdensity: Float[Array, ""]
    log_proposal: Float[Array, ""]


class IndependenceInfo(NamedTuple):
    """What happened in one step.

    Attributes
    ----------
    acceptance_rate, is_accepted, is_divergent
        As in `MetropolisInfo`.
    log_weight
        `log p - log q` where the chain now is, up to a constant. +inf says that the proposal
        does not cover the target there: the chain can never leave, and never finds such places.
    """

    acceptance_rate: Float[Array, ""]
    is_accepted: Bool[Array, ""]
    is_divergent: Bool[Array, ""]
    log_weight: Float[Array, ""]


def independence_jump[State](
    rng_key: RngKey,
    state: State,
    candidate: State,
    *,
    log_proposal: Float[Array, ""],
    candidate_log_proposal: Float[Array, ""],
) -> tuple[State, MetropolisInfo]:
    """Accept or reject a candidate that was proposed without looking at the chain.

    Parameters
    ----------
    rng_key
        One key.
    state, candidate
        Current state and candidate: states of one kernel, with a field `logdensity`. A gradient
        `logdensity_grad` that is not finite makes the candidate invalid; a step count `step` is
        taken over from the current state.
    log_proposal, candidate_log_proposal
        Log density of the proposal at both, evaluated at this step: a value from an earlier step
        biases a chain that has moved since.
    """
    old: Any = state
    new: Any = candidate
    if hasattr(new, "step"):
        new = new._replace(step=old.step)
    grad = ravel_pytree(getattr(new, "logdensity_grad", ()))[0]
    return accept_reject(
        rng_key,
        old,
        new,
        log_ratio=(new.logdensity - candidate_log_proposal) - (old.logdensity - log_proposal),
        logdensity=new.logdensity,
        is_valid=jnp.all(jnp.isfinite(grad)),
    )


def init(
    position: Position, logdensity_fn: LogDensityFn, proposal: IndependentProposal
) -> IndependenceState:
    """State of a chain that starts at `position`.

    Raises
    ------
    ValueError, TypeError
        If the log density is no scalar, the position holds integers, or the proposal does not
        cover the position (where its value is known, outside of JAX transformations).
    """
    log_proposal = jnp.asarray(proposal.log_prob(position))
    if not isinstance(log_proposal, jax.core.Tracer) and not log_proposal > -jnp.inf:
        raise ValueError(
            f"the proposal's log density is {float(log_proposal)} at the chain's start: it does "
            "not cover the target there. Widen the proposal or give it heavier tails, or start "
            "from one of its own draws."
        )
    return IndependenceState(position, evaluate(logdensity_fn, position), log_proposal)


def build_kernel() -> Callable[..., tuple[IndependenceState, IndependenceInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, proposal)`."""

    def kernel(
        rng_key: RngKey,
        state: IndependenceState,
        logdensity_fn: LogDensityFn,
        proposal: IndependentProposal,
    ) -> tuple[IndependenceState, IndependenceInfo]:
        key_propose, key_accept = jax.random.split(rng_key)
        position, log_proposal = proposal.sample_and_log_prob(key_propose)
        state, info = independence_jump(
            key_accept,
            state,
            IndependenceState(position, logdensity_fn(position), log_proposal),
            log_proposal=state.log_proposal,
            candidate_log_proposal=log_proposal,
        )
        return state, IndependenceInfo(*info, state.logdensity - state.log_proposal)

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn, proposal: IndependentProposal
) -> "blackjax.SamplingAlgorithm":
    """Independence Metropolis-Hastings.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized.
    proposal
        An `IndependentProposal`; `proposals.from_distribution` makes one of a NumPyro
        distribution. It must cover the target's support, with heavier tails to mix well.

    Raises
    ------
    ValueError
        From `init`, if the proposal's density is 0 at the start.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
    >>> from numpyro_score.kernels.proposals import from_distribution
    >>> proposal = from_distribution(dist.StudentT(5.0, 0.0, 2.0))
    >>> algorithm = independence(lambda x: -0.5 * x**2, proposal)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.array(0.0)))
    >>> bool(info.acceptance_rate > 0)
    True
    """
    return bind(build_kernel(), init, logdensity_fn, {"proposal": proposal})


independence = MarkovKernel(as_top_level_api, init, build_kernel)
