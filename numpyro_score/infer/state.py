"""State of a kernel in NumPyro's protocol, with the fields that ArviZ knows by name."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.adaptation.pooled import PooledState
from numpyro_score.types import Position, RngKey


class AdaptState(NamedTuple):
    """What warmup has learned.

    Attributes
    ----------
    step_size
        Step size in use: a scalar, or one a chain.
    warmup
        State of the pooled warmup.
    """

    step_size: Float[Array, "*chain"]
    warmup: PooledState

    @property
    def inverse_mass_matrix(self) -> Float[Array, "..."]:
        """`P` in use, `(dim,)` or `(dim, dim)`, behind a chain axis if there is one.

        Shared by all chains; broadcast here because NumPyro collects one value a chain.
        """
        matrix = self.warmup.preconditioner.inverse_mass_matrix
        return jnp.broadcast_to(matrix, jnp.shape(self.step_size) + matrix.shape)


class AdapterState(NamedTuple):
    """State of a kernel in NumPyro's protocol; fields of shape `chain` are scalars for one chain.

    Attributes
    ----------
    i
        Steps taken, warmup included.
    kernel_state
        State of the algorithm.
    accept_prob
        Probability with which the last candidate was to be accepted.
    mean_accept_prob
        Its mean over the present phase.
    diverging
        Whether the last candidate was refused because a number was not finite.
    num_grad, num_logdensity
        Gradients, and log densities without a gradient, evaluated in the last step.
    adapt_state
        Step size and preconditioner.
    rng_key
        Key of the next step.
    """

    i: Int[Array, "*chain"]
    kernel_state: Any
    accept_prob: Float[Array, "*chain"]
    mean_accept_prob: Float[Array, "*chain"]
    diverging: Bool[Array, "*chain"]
    num_grad: Int[Array, "*chain"]
    num_logdensity: Int[Array, "*chain"]
    adapt_state: AdaptState
    rng_key: RngKey

    @property
    def z(self) -> Position:
        """Unconstrained position."""
        return self.kernel_state.position

    @property
    def potential_energy(self) -> Float[Array, "*chain"]:
        """Minus the log density at the position; NaN where only a score is known."""
        return -self.kernel_state.logdensity


def per_chain(state: Any, change: Callable[[Array], Array], shared: Sequence[str]) -> Any:
    """The state with its per-chain parts changed, and those in `shared` left alone."""
    mine = {name: part for name, part in state._asdict().items() if name not in shared}
    return state._replace(**jax.tree.map(change, mine))
