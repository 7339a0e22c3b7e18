"""State of a kernel in NumPyro's protocol, with the fields that ArviZ knows by name."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from numpyro.util import is_prng_key

from numpyro_score.adaptation.state import PooledState, map_per_chain
from numpyro_score.infer.sampler import SamplerState, StepInfo, add_axis, first
from numpyro_score.types import Position, RngKey


class AdaptState(NamedTuple):
    """What warmup has learned.

    Attributes
    ----------
    warmup
        State of the pooled warmup.
    """

    warmup: PooledState

    @property
    def step_size(self) -> Float[Array, "*chain"]:
        """Step size in use: a scalar, or one a chain."""
        return jnp.exp(self.warmup.log_step_size)

    @property
    def inverse_mass_matrix(self) -> Float[Array, "..."]:
        """`P` in use, `(dim,)` or `(dim, dim)`, behind a chain axis if there is one.

        Shared by all chains; broadcast here because NumPyro collects one value a chain.
        """
        matrix = self.warmup.preconditioner.inverse_mass_matrix
        return jnp.broadcast_to(matrix, jnp.shape(self.warmup.log_step_size) + matrix.shape)


class KernelState(NamedTuple):
    """State of a kernel in NumPyro's protocol; fields of shape `chain` are scalars for one chain.

    Fields that a sampler reports besides are attributes too: those of `kernel_state`.

    Attributes
    ----------
    i
        Steps taken, warmup included.
    kernel_state
        State of the sampler's chains.
    accept_prob
        Probability with which the last candidate was to be accepted; None where nothing is
        proposed.
    mean_accept_prob
        Its mean over the present phase.
    diverging
        Whether the last candidate was rejected because a number was not finite.
    num_grad, num_logdensity
        Gradients, and log densities without a gradient, evaluated in the last step.
    adapt_state
        Step size and preconditioner; None where there are none.
    step_number
        Steps taken after warmup, one number for all chains; negative during warmup.
    learned
        Arrays of what was learned before the first step: a compiled program does not depend on
        their values.
    rng_key
        Key of the next step.
    """

    i: Int[Array, "*chain"]
    kernel_state: Any
    accept_prob: Float[Array, "*chain"] | None
    mean_accept_prob: Float[Array, "*chain"] | None
    diverging: Bool[Array, "*chain"]
    num_grad: Int[Array, "*chain"]
    num_logdensity: Int[Array, "*chain"]
    adapt_state: AdaptState | None
    step_number: Int[Array, "*any"]
    learned: Any
    rng_key: RngKey

    @property
    def z(self) -> Position:
        """Unconstrained position."""
        return self.kernel_state.position

    @property
    def potential_energy(self) -> Float[Array, "*chain"] | None:
        """Minus the log density at the position; NaN or None where it is not known."""
        logdensity = self.kernel_state.logdensity
        return None if logdensity is None else -logdensity

    def __getattr__(self, name: str) -> Any:
        """A field of the sampler's own state."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.kernel_state, name)

    def as_batch(self, *, is_single: bool) -> SamplerState:
        """The sampler's state, a single chain as a batch of one."""
        warmup = None if self.adapt_state is None else self.adapt_state.warmup
        if not is_single:
            return SamplerState(self.kernel_state, warmup)
        return SamplerState(
            add_axis(self.kernel_state),
            None if warmup is None else map_per_chain(add_axis, warmup),
        )


def first_state(
    state: SamplerState,
    num_warmup: int | Int[Array, ""],
    learned: Any,
    rng_key: Any,
    *,
    has_acceptance: bool,
) -> KernelState:
    """The state before the first step.

    Parameters
    ----------
    state
        What the sampler starts from.
    num_warmup
        Steps of warmup to come.
    learned
        Arrays of what was learned.
    rng_key
        One key for a single chain, one a chain for a batch.
    has_acceptance
        Whether steps report an acceptance probability.
    """
    is_single = is_prng_key(rng_key)
    kernel_state, adapt_state = _from_batch(state, is_single=is_single)
    leaves = jax.tree.leaves(state.chains.position)
    shape = () if is_single else leaves[0].shape[:1]
    rate = jnp.zeros(shape, jnp.result_type(*leaves)) if has_acceptance else None
    none = jnp.zeros(shape, jnp.int32)
    return KernelState(
        i=none,
        kernel_state=kernel_state,
        accept_prob=rate,
        mean_accept_prob=rate,
        diverging=jnp.zeros(shape, bool),
        num_grad=none,
        num_logdensity=none,
        adapt_state=adapt_state,
        step_number=jnp.asarray(-num_warmup, jnp.int32),
        learned=learned,
        rng_key=rng_key,
    )


def next_state(
    state: KernelState, new: SamplerState, info: StepInfo, step_number: Array, rng_key: Any
) -> KernelState:
    """The state after a step: what the sampler made of it, and what is reported.

    Parameters
    ----------
    state
        The state before.
    new, info
        What the sampler's step returned.
    step_number
        Steps taken after warmup, this one included; below 1 during warmup.
    rng_key
        Key of the next step, or one a chain.
    """
    is_single = is_prng_key(rng_key)
    kernel_state, adapt_state = _from_batch(new, is_single=is_single)
    info = first(info) if is_single else info
    i = state.i + 1
    mean = state.mean_accept_prob
    if mean is not None:
        assert info.acceptance_rate is not None
        count = jnp.where(step_number > 0, step_number, i)
        mean = jnp.where(count == 1, 0.0, mean)
        mean = mean + (info.acceptance_rate - mean) / jnp.asarray(count, mean.dtype)
    return KernelState(
        i=i,
        kernel_state=kernel_state,
        accept_prob=info.acceptance_rate,
        mean_accept_prob=mean,
        diverging=info.is_divergent,
        num_grad=info.num_grad,
        num_logdensity=info.num_logdensity,
        adapt_state=adapt_state,
        step_number=step_number,
        learned=state.learned,
        rng_key=rng_key,
    )


def _from_batch(state: SamplerState, *, is_single: bool) -> tuple[Any, AdaptState | None]:
    """`kernel_state` and `adapt_state` of a `KernelState`."""
    chains, adapt = state
    if is_single:
        chains = first(chains)
        adapt = None if adapt is None else map_per_chain(first, adapt)
    return chains, None if adapt is None else AdaptState(adapt)
