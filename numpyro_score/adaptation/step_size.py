"""Search for a step size by dual averaging (Hoffman and Gelman 2014, arXiv:1111.4246, section 3.2).

The scheme is NumPyro's; here its state has names, and types that a scan can carry.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from numpyro.infer.hmc_util import dual_averaging

_, _update = dual_averaging()


class StepSizeSearch(NamedTuple):
    """State of a search.

    Attributes
    ----------
    log_step_size
        Logarithm of the step size to use next.
    log_step_size_avg
        Its weighted average over the updates, which converges.
    error_avg
        Average of target less acceptance.
    step
        Updates so far.
    center
        Log step size that the search shrinks towards: that of ten times the first.
    """

    log_step_size: Float[Array, ""]
    log_step_size_avg: Float[Array, ""]
    error_avg: Float[Array, ""]
    step: Int[Array, ""]
    center: Float[Array, ""]


def start_search(step_size: Float[Array, ""]) -> StepSizeSearch:
    """Begin a search at `step_size`, in its precision."""
    zero = jnp.zeros_like(step_size)
    return StepSizeSearch(
        log_step_size=jnp.log(step_size),
        log_step_size_avg=zero,
        error_avg=zero,
        step=jnp.zeros((), jnp.int32),
        center=jnp.log(10 * step_size),
    )


def update_search(
    search: StepSizeSearch, acceptance_rate: Float[Array, ""], target: float
) -> StepSizeSearch:
    """One step's acceptance taken into account."""
    new = StepSizeSearch(*_update(target - acceptance_rate, search))
    return jax.tree.map(lambda value, old: jnp.asarray(value, old.dtype), new, search)


def log_found(search: StepSizeSearch, otherwise: Float[Array, ""]) -> Float[Array, ""]:
    """Log step size that the search settled on; `otherwise` where it has had no update."""
    return jnp.where(search.step > 0, search.log_step_size_avg, otherwise)
