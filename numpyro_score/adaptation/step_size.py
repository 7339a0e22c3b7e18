"""Search for a step size by dual averaging (Hoffman and Gelman 2014, arXiv:1111.4246, section 3.2).

The algorithm is NumPyro's; here its state has named fields of fixed types, for a scan's carry.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from numpyro.infer.hmc_util import dual_averaging

from numpyro_score.step_size import follow_acceptance

_, _update = dual_averaging()

CORRECTION = 2.0
"""First gain of `correct`: about one over the slope of an acceptance rate in the log step size."""


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
        Log step size to which iterates are shrunk: the first. Ten times it, as is usual, is left
        too late where a phase has a dozen steps.
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
        center=jnp.log(step_size),
    )


def update_search(
    search: StepSizeSearch, acceptance_rate: Float[Array, ""], target: float
) -> StepSizeSearch:
    """Update by the acceptance rate of one step."""
    new = StepSizeSearch(*_update(target - acceptance_rate, search))
    return jax.tree.map(lambda value, old: jnp.asarray(value, old.dtype), new, search)


def correct(
    log_step_size: Float[Array, "*chain"],
    acceptance_rate: Float[Array, ""],
    target: float,
    step: Int[Array, ""],
) -> Float[Array, "*chain"]:
    """Correct a step size by the acceptance rate that is observed with it.

    The gain is `CORRECTION / t`: at the target the step size converges, and a step size that is far
    too large decreases without bound, because the gains have an infinite sum.

    Parameters
    ----------
    log_step_size
        The step size in use.
    acceptance_rate, target
        Of the last step, and the rate to approach.
    step
        Number of corrections before.
    """
    gain = CORRECTION / (step + 1).astype(acceptance_rate.dtype)
    return follow_acceptance(log_step_size, acceptance_rate, target, gain=gain)


def log_found(search: StepSizeSearch, otherwise: Float[Array, ""]) -> Float[Array, ""]:
    """The averaged log step size; `otherwise` if there was no update."""
    return jnp.where(search.step > 0, search.log_step_size_avg, otherwise)
