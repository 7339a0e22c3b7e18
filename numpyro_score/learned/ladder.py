"""A ladder of temperatures for parallel tempering, from the stages of an exploration."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.ladder import Ladder
from numpyro_score.kernels.tempered_smc import TemperedParticles
from numpyro_score.learned.preparation import cost_attributes
from numpyro_score.types import Position


class LearnedLadder(NamedTuple):
    """A ladder, and the exploration that it was learned from.

    Attributes
    ----------
    ladder
        Temperatures, with step sizes and preconditioners of MALA.
    particles, template
        As in `Preparation`.
    num_grad
        Gradients of the target that exploring evaluated.
    seconds
        Phase -> seconds, compilation included.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.kernels import Ladder
    >>> ladder = Ladder(jnp.array([0.0, 1.0]), jnp.ones(2), jnp.ones((2, 3)))
    >>> learned = LearnedLadder(ladder, jnp.zeros((4, 3)), jnp.zeros(3), 100, {"explore": 0.5})
    >>> learned.attributes
    {'num_grad_training': 100.0, 'seconds_training': 0.5}
    """

    ladder: Ladder
    particles: Float[Array, "num dim"]
    template: Position
    num_grad: int
    seconds: dict[str, float]

    @property
    def learned(self) -> Ladder:
        """What the steps use."""
        return self.ladder

    @property
    def attributes(self) -> dict[str, float]:
        """What a run records: the cost."""
        return cost_attributes(self.num_grad, self.seconds)


def ladder_of(explored: TemperedParticles) -> Ladder:
    """The stages of an exploration as a ladder: the reference, and every temperature after it."""
    num = int(explored.num_stages)
    betas, step_sizes, variances = (np.asarray(part)[:num] for part in explored.stages)
    # several stages are at the target itself; the last one is the best adapted
    betas, which = np.unique(betas[::-1], return_index=True)
    which = num - 1 - which
    rows = [betas, step_sizes[which], variances[which]]
    rows = [np.concatenate([row[:1], row]) for row in rows]
    rows[0][0] = 0.0
    return Ladder(*(jnp.asarray(row) for row in rows))
