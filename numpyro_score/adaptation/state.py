"""State of the pooled warmup: what belongs to each chain, and what all chains share."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float, Int

from numpyro_score.adaptation.friction import FrictionSearch
from numpyro_score.adaptation.moments import Moments
from numpyro_score.adaptation.step_size import StepSizeSearch
from numpyro_score.adaptation.trajectory import TrajectorySearch
from numpyro_score.preconditioner import Preconditioner


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
    level
        Log density of each chain at the start of the window, shape `(chain,)`.
    num_restarts
        Restarts of each chain, except those of a rising chain (`stuck.py`), shape `(chain,)`.
    accepted, num_looked
        Sum of each chain's acceptance rates since it was last looked at, shape `(chain,)`, and the
        number of steps since.
    trajectory
        Search for the length of trajectories; None where there is nothing to search.
    friction
        Search for the friction of a velocity; None likewise.
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
    level: Float[Array, " chain"]
    num_restarts: Int[Array, " chain"]
    accepted: Float[Array, " chain"]
    num_looked: Int[Array, ""]
    trajectory: TrajectorySearch | None = None
    friction: FrictionSearch | None = None

    def learned(self) -> dict[str, Array]:
        """Arguments of the kernel that are searched for besides step size and `P`, by name."""
        found = {}
        if self.trajectory is not None:
            found["mean_num_steps"] = self.trajectory.mean_num_steps
        if self.friction is not None:
            found["friction"] = self.friction.friction
        return found


def map_per_chain(change: Callable[[Array], Array], state: PooledState) -> PooledState:
    """The state with its fields of shape `(chain,)` changed, and the shared ones left alone."""
    trajectory = state.trajectory
    if trajectory is not None:
        trajectory = trajectory._replace(position=change(trajectory.position))
    return state._replace(
        trajectory=trajectory,
        log_step_size=change(state.log_step_size),
        level=change(state.level),
        num_restarts=change(state.num_restarts),
        accepted=change(state.accepted),
    )
