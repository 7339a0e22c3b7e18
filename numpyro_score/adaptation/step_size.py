"""Search for a step size by dual averaging (Hoffman and Gelman 2014, arXiv:1111.4246, section 3.2).

The algorithm is NumPyro's; here its state has named fields of fixed types, for a scan's carry.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from numpyro.infer.hmc_util import dual_averaging

_, _update = dual_averaging()


class StepSizeSearch(NamedTuple):
    """State of dual averaging.

    Attributes
    ----------
    log_step_size
        Logarithm of the step size to use next.
    log_step_size_avg
        Its weighted average over the updates, which converges.
    error_avg
        Average of target minus acceptance rate.
    step
        Number of updates.
    center
        Log step size to which iterates are shrunk: that of ten times the first.
    """

    log_step_size: Float[Array, ""]
    log_step_size_avg: Float[Array, ""]
    error_avg: Float[Array, ""]
    step: Int[Array, ""]
    center: Float[Array, ""]


def start_search(step_size: Float[Array, ""]) -> StepSizeSearch:
    """Start a search from `step_size`, in its precision."""
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
    """Update by the acceptance rate of one step."""
    new = StepSizeSearch(*_update(target - acceptance_rate, search))
    return jax.tree.map(lambda value, old: jnp.asarray(value, old.dtype), new, search)


def log_found(search: StepSizeSearch, otherwise: Float[Array, ""]) -> Float[Array, ""]:
    """The averaged log step size; `otherwise` if there was no update."""
    return jnp.where(search.step > 0, search.log_step_size_avg, otherwise)
