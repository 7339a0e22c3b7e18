"""Parallel tempering: replicas at a ladder of temperatures, which exchange their positions.

The replica at inverse temperature b has the distribution `r^(1 - b) p^b`, between a reference r
that can be sampled (b = 0) and the target p (b = 1). One call moves every replica by MALA steps
with the step size of its temperature, draws the replica at b = 0 from the reference, and proposes
to exchange the positions of neighbours i and i + 1, accepted with probability

    min(1, exp((b_{i+1} - b_i) (l_i - l_{i+1}))),    l = log p - log r,

for the even pairs and the odd pairs in turn, which carries positions along the ladder faster than
pairs at random (Okabe et al. 2001, doi:10.1016/S0009-2614(01)00055-0; Syed et al. 2022,
doi:10.1111/rssb.12464). The joint distribution of all replicas is invariant, and so is that of the
replica at b = 1, which is the chain. Exact.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.kernels.api import MarkovKernel
from numpyro_score.kernels.base import bind, evaluate, run_steps
from numpyro_score.kernels.ladder import Ladder, check_ladder, finite
from numpyro_score.kernels.mala import mala
from numpyro_score.kernels.metropolis import accept_reject
from numpyro_score.kernels.proposals import IndependentProposal
from numpyro_score.types import LogDensityFn, Position, RngKey

if TYPE_CHECKING:
    import blackjax


class ParallelTemperingState(NamedTuple):
    """State of a chain: the positions of all its replicas.

    Attributes
    ----------
    position
        Position of the replica at the target, a pytree: the draw.
    logdensity
        Log density of the target there.
    replicas
        `(rung, dim)`: flat positions, from the reference to the target.
    log_ratios
        `(rung,)`: `log p - log r` there.
    step
        Steps taken.
    """

    position: Position
    logdensity: Float[Array, ""]
    replicas: Float[Array, "rung dim"]
    log_ratios: Float[Array, " rung"]
    step: Int[Array, ""]


class ParallelTemperingInfo(NamedTuple):
    """What happened in one step.

    Attributes
    ----------
    acceptance_rate
        Mean acceptance probability of the local steps at the target.
    swap_acceptance_rate
        Mean acceptance probability of the exchanges that were proposed.
    is_accepted
        Whether the replica at the target was exchanged with its neighbour.
    is_divergent
        Whether a local step of the replica at the target met a value that is not finite.
    num_integration_steps
        Gradients evaluated.
    num_logdensity
        Log densities without a gradient.
    """

    acceptance_rate: Float[Array, ""]
    swap_acceptance_rate: Float[Array, ""]
    is_accepted: Bool[Array, ""]
    is_divergent: Bool[Array, ""]
    num_integration_steps: Int[Array, ""]
    num_logdensity: Int[Array, ""]


def init(
    position: Position,
    logdensity_fn: LogDensityFn,
    reference: IndependentProposal,
    ladder: Ladder,
) -> ParallelTemperingState:
    """State of a chain whose replicas all start at `position`.

    Raises
    ------
    ValueError, TypeError
        If the log density is not a scalar or the position holds integers.
    """
    value = evaluate(logdensity_fn, position)
    flat = ravel_pytree(position)[0]
    num = len(ladder.inverse_temperatures)
    log_ratio = finite(value) - finite(reference.log_prob(flat))
    return ParallelTemperingState(
        position,
        value,
        jnp.broadcast_to(flat, (num, flat.size)),
        jnp.broadcast_to(log_ratio, (num,)),
        jnp.zeros((), jnp.int32),
    )


def exchange(
    rng_key: RngKey,
    replicas: Float[Array, "rung dim"],
    log_ratios: Float[Array, " rung"],
    inverse_temperatures: Float[Array, " rung"],
    is_odd: Bool[Array, ""],
) -> tuple[Float[Array, "rung dim"], Float[Array, " rung"], Float[Array, ""], Bool[Array, ""]]:
    """Exchange neighbours: replicas, their log ratios, acceptance, whether the last one changed."""
    num = len(inverse_temperatures)
    lower = jnp.arange(num - 1)
    is_proposed = (lower % 2 == 1) == is_odd
    gaps = jnp.diff(inverse_temperatures) * -jnp.diff(log_ratios)
    keys = jax.random.split(rng_key, num - 1)

    def one(key: RngKey, gap: Array) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        zero = jnp.zeros((), gap.dtype)
        taken, info = accept_reject(key, zero < 0, zero <= 0, log_ratio=gap, logdensity=zero)
        return taken, info.acceptance_rate

    is_taken, rates = jax.vmap(one)(keys, gaps)
    is_taken = is_taken & is_proposed
    none = jnp.zeros(1, bool)
    step_up, step_down = jnp.append(is_taken, none), jnp.append(none, is_taken)
    source = jnp.arange(num) + step_up.astype(jnp.int32) - step_down.astype(jnp.int32)
    rate = jnp.sum(rates * is_proposed) / jnp.maximum(jnp.sum(is_proposed), 1)
    return replicas[source], log_ratios[source], rate, step_down[-1]


def build_kernel() -> Callable[..., tuple[ParallelTemperingState, ParallelTemperingInfo]]:
    """Build the kernel `(rng_key, state, logdensity_fn, *, reference, ladder, num_local)`."""
    local = mala.build_kernel()

    def kernel(
        rng_key: RngKey,
        state: ParallelTemperingState,
        logdensity_fn: LogDensityFn,
        *,
        reference: IndependentProposal,
        ladder: Ladder,
        num_local: int = 4,
    ) -> tuple[ParallelTemperingState, ParallelTemperingInfo]:
        key_reference, key_local, key_swap = jax.random.split(rng_key, 3)
        unravel = ravel_pytree(state.position)[1]
        betas, step_sizes, matrices = ladder
        num = len(betas)

        def of_target(x: Array) -> Array:
            return finite(logdensity_fn(unravel(x)))

        def of_reference(x: Array) -> Array:
            return finite(reference.log_prob(x))

        def move_replica(
            key: RngKey, x: Array, beta: Array, step_size: Array, matrix: Array
        ) -> tuple:
            def tempered(x: Array) -> Array:
                return (1 - beta) * of_reference(x) + beta * of_target(x)

            def move(rng_key: RngKey, state: Any) -> tuple[Any, tuple[Array, Array]]:
                state, info = local(rng_key, state, tempered, step_size, matrix)
                return state, (info.acceptance_rate, info.is_divergent)

            last, (rates, divergent) = run_steps(move, key, mala.init(x, tempered), num_local)
            # the ratio follows from the tempered density, without another evaluation of the target
            ratio = (last.logdensity - of_reference(last.position)) / beta
            return last.position, ratio, jnp.mean(rates), jnp.any(divergent)

        fresh, _ = reference.sample_and_log_prob(key_reference)
        moved, ratios, rates, divergent = jax.vmap(move_replica)(
            jax.random.split(key_local, num - 1),
            state.replicas[1:],
            betas[1:],
            step_sizes[1:],
            matrices[1:],
        )
        replicas = jnp.concatenate([fresh[None], moved])
        log_ratios = jnp.concatenate([(of_target(fresh) - of_reference(fresh))[None], ratios])
        replicas, log_ratios, rate, is_exchanged = exchange(
            key_swap, replicas, log_ratios, betas, state.step % 2 == 1
        )
        cold = replicas[-1]
        value = log_ratios[-1] + of_reference(cold)
        new = ParallelTemperingState(unravel(cold), value, replicas, log_ratios, state.step + 1)
        info = ParallelTemperingInfo(
            rates[-1],
            rate,
            is_exchanged,
            divergent[-1],
            jnp.asarray((num - 1) * (num_local + 1), jnp.int32),
            jnp.ones((), jnp.int32),
        )
        return new, info

    return kernel


def as_top_level_api(
    logdensity_fn: LogDensityFn,
    *,
    reference: IndependentProposal,
    ladder: Ladder,
    num_local: int = 4,
) -> "blackjax.SamplingAlgorithm":
    """Parallel tempering between a reference and the target; exact.

    Parameters
    ----------
    logdensity_fn
        Position -> scalar log density, unnormalized.
    reference
        A distribution over the flat position that covers the target, such as the prior;
        `kernels.proposals.from_distribution` makes one from a NumPyro distribution.
    ladder
        A `Ladder`: the temperatures, and MALA's step size and inverse mass matrix at each.
    num_local
        MALA steps of every replica between exchanges, at least 1.

    Raises
    ------
    ValueError
        If the ladder does not rise from 0 to 1 or its parts differ in length, or if `num_local` is
        below 1.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist
    >>> from numpyro_score.kernels.proposals import from_distribution
    >>> def two_modes(x):
    ...     return jnp.logaddexp(-8 * jnp.sum((x - 2) ** 2), -8 * jnp.sum((x + 2) ** 2))
    >>> reference = from_distribution(dist.Normal(0.0, 3.0).expand([1]).to_event(1))
    >>> betas = jnp.array([0.0, 0.1, 0.4, 1.0])
    >>> ladder = Ladder(betas, jnp.full(4, 0.5), 1 / (1 / 9 + 16 * betas[:, None]))
    >>> algorithm = parallel_tempering(two_modes, reference=reference, ladder=ladder)
    >>> state, info = algorithm.step(jax.random.key(0), algorithm.init(jnp.full(1, 2.0)))
    >>> int(info.num_integration_steps), state.replicas.shape
    (15, (4, 1))
    """
    check_ladder(ladder)
    if num_local < 1:
        raise ValueError(f"num_local is {num_local}, but at least 1 local step is needed")
    parameters = {"reference": reference, "ladder": ladder, "num_local": num_local}
    return bind(build_kernel(), init, logdensity_fn, parameters)


parallel_tempering = MarkovKernel(as_top_level_api, init, build_kernel)
