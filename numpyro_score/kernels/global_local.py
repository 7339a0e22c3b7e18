"""Local moves and an independence jump as one kernel: some MALA steps, then one global step.

Each of the two leaves the target invariant, and so does their sequence (Gabrie, Rotskoff and
Vanden-Eijnden 2022, doi:10.1073/pnas.2109420119, for learned jumps between local moves). The
proposal's density at the current position is evaluated at every jump, because the local moves
before it have changed the position; a value carried over from the last jump would bias the chain.
One call makes the local steps and the jump, without a branch, so that `jax.vmap` over chains
computes nothing twice. `numpyro_score.infer.alternate` is the same sequence one step a call, for a
batch of chains that share the cost of their proposals.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.kernels import langevin
from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind, run_steps
from numpyro_score.kernels.independence import independence_jump
from numpyro_score.kernels.langevin import LangevinState
from numpyro_score.kernels.mala import mala
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.preconditioner import InverseMassMatrix
from numpyro_score.types import LogDensityFn, Position, RngKey, Scalar

if TYPE_CHECKING:
    import blackjax


class GlobalLocalInfo(NamedTuple):
    """What happened in one call.

    Attributes
    ----------
    acceptance_rate
        Mean acceptance probability of the local steps, which a step size is tuned by.
    global_acceptance_rate
        Acceptance probability of the jump.
    is_accepted, is_divergent
        Of the jump.
    log_proposal
        Log density of the proposal where the call ended.
    num_integration_steps
        Gradients evaluated: one for each local step, and one at the candidate.
    """

    acceptance_rate: Float[Array, ""]
    global_acceptance_rate: Float[Array, ""]
    is_accepted: Bool[Array, ""]
    is_divergent: Bool[Array, ""]
    log_proposal: Float[Array, ""]
    num_integration_steps: Int[Array, ""]


def init(position: Position, logdensity_fn: LogDensityFn) -> LangevinState:
    """State of a chain that starts at `position`.

    Raises
    ------
    ValueError, TypeError
        If the log density is no scalar or the position holds integers.
    """
    return langevin.init(position, logdensity_fn)


def build_kernel() -> Callable[..., tuple[LangevinState, GlobalLocalInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix, ...)`."""
    local = mala.build_kernel()

    def kernel(
        rng_key: RngKey,
        state: LangevinState,
        logdensity_fn: LogDensityFn,
        step_size: Scalar,
        inverse_mass_matrix: InverseMassMatrix = None,
        *,
        proposal: IndependentProposal,
        num_local: int = 4,
    ) -> tuple[LangevinState, GlobalLocalInfo]:
        key_local, key_propose, key_weigh, key_accept = jax.random.split(rng_key, 4)

        def move(rng_key: RngKey, state: LangevinState) -> tuple[LangevinState, Any]:
            state, info = local(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix)
            return state, info.acceptance_rate

        state, rates = run_steps(move, key_local, state, num_local)
        position, log_new = proposal.sample_and_log_prob(key_propose)
        log_old = (
            proposal.log_prob(state.position)
            if proposal.redraw is None
            else proposal.redraw(key_weigh, state.position)
        )
        state, info = independence_jump(
            key_accept,
            state,
            init(position, logdensity_fn),
            log_proposal=log_old,
            candidate_log_proposal=log_new,
        )
        log_proposal = jnp.where(info.is_accepted, log_new, log_old)
        num_grad = jnp.asarray(num_local + 1, jnp.int32)
        return state, GlobalLocalInfo(jnp.mean(rates), *info, log_proposal, num_grad)

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn,
    step_size: Scalar,
    inverse_mass_matrix: InverseMassMatrix = None,
    *,
    proposal: IndependentProposal,
    num_local: int = 4,
) -> "blackjax.SamplingAlgorithm":
    """Some MALA steps and one independence jump a call; exact.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized.
    step_size, inverse_mass_matrix
        Of the local steps, as for `mala`.
    proposal
        Where to jump: an `IndependentProposal`, such as
        `numpyro_score.samplers.proposals.flow_proposal(...).as_independent()`.
    num_local
        Local steps before the jump, at least 1.

    Raises
    ------
    ValueError
        If the step size is not above 0, `num_local` is below 1, or `P` is not a valid inverse mass
        matrix.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
    >>> from numpyro_score.kernels.proposals import from_distribution
    >>> proposal = from_distribution(dist.StudentT(5.0, 0.0, 4.0).expand([1]).to_event(1))
    >>> def two_modes(x):
    ...     return jnp.logaddexp(-0.5 * jnp.sum((x - 4) ** 2), -0.5 * jnp.sum((x + 4) ** 2))
    >>> algorithm = global_local(two_modes, 0.5, proposal=proposal)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.full(1, 4.0)))
    >>> bool(info.acceptance_rate > 0.5), state.position.shape
    (True, (1,))
    """
    if num_local < 1:
        raise ValueError(
            f"num_local is {num_local} but must be at least 1; for jumps alone use independence."
        )
    parameters = {
        "step_size": step_size,
        "inverse_mass_matrix": inverse_mass_matrix,
        "proposal": proposal,
        "num_local": num_local,
    }
    return bind(build_kernel(), init, logdensity_fn, parameters)


global_local = MarkovKernel(as_top_level_api, init, build_kernel)
