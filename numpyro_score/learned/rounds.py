"""What a round of learning leaves, and the weights of a proposal's draws, by which it is judged."""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.learned.importance import Quality
from numpyro_score.learned.preparation import FlatLogDensity
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.types import RngKey

GOOD = 0.8
"""Acceptance at which another round would gain less than it costs."""

LEAST_GAIN = 0.01
"""Rise of the acceptance, and change of a region's weight, below which a round changed nothing."""

ENOUGH = 0.05
"""Effective share of weighted draws from which they replace the particles."""


class Round(NamedTuple):
    """One round of learning, and what the draws of its proposal say.

    Attributes
    ----------
    quality
        Of the proposal.
    shares
        Weight of every region, from the weighted draws.
    num_steps, loss
        Steps of a training, and the loss at its end; 0 and NaN where no network was trained.
    """

    quality: Quality
    shares: Float[np.ndarray, " regions"]
    num_steps: int = 0
    loss: float = float("nan")


class Learned(NamedTuple):
    """A proposal and how good it is.

    Attributes
    ----------
    proposal
        The frozen proposal distribution.
    particles
        `(num, dim)` approximate draws of the target, for chains to start from.
    rounds
        Every round.
    best
        Index of the round whose proposal was kept.
    stopped
        Why no further round was made: "accepted", "no gain" or "rounds".
    num_grad
        Evaluations of the target that it took, with a gradient or without.
    covers
        Whether the proposal covers what was found of the target; assumed of a network, which is
        trained on particles from there.
    """

    proposal: LearnedProposal
    particles: Float[Array, "num dim"]
    rounds: tuple[Round, ...]
    best: int
    stopped: str
    num_grad: int
    covers: bool = True

    @property
    def quality(self) -> Quality:
        """Of the proposal that was kept."""
        return self.rounds[self.best].quality


@eqx.filter_jit
def weigh(
    logdensity_fn: FlatLogDensity, proposal: LearnedProposal, rng_key: RngKey, num: int
) -> tuple[Float[Array, "num dim"], Float[Array, " num"], Float[Array, " num"]]:
    """Draws of the learned part, their log weights for the proposal, and for that part alone.

    The heavy-tailed part is left out: its draws would have to be flowed back.
    """
    learned = replace(proposal, weight=0.0)
    drafts = jax.vmap(learned.draft)(jax.random.split(rng_key, num))
    x = jax.vmap(learned.unwhiten)(drafts.u)
    logdensity = jax.vmap(logdensity_fn)(x)

    def log_weights(part: LearnedProposal) -> Array:
        value = logdensity - jax.vmap(part.mix)(drafts.u, drafts.log_learned)
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    return x, log_weights(proposal), log_weights(learned)
