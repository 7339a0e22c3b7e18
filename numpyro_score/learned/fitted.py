"""A trained proposal with its record: all that a kernel needs to sample."""

import warnings
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Array, Float

from numpyro_score.learned.importance import Quality
from numpyro_score.learned.preparation import cost_attributes
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.types import Position

PACKAGE = str(Path(__file__).parents[1])

LARGEST_K = 0.7
"""Pareto k above which a proposal is warned of (Vehtari et al. 2024, arXiv:1507.02646)."""

LEAST_ACCEPTANCE = 0.05
"""Acceptance of global moves below which they are warned of."""


class Fitted(NamedTuple):
    """A trained proposal with its record.

    Attributes
    ----------
    proposal
        The frozen proposal distribution, over flat unconstrained positions.
    particles
        `(num, dim)` flat positions for chains to start from.
    quality
        Acceptance, effective sample size, Pareto k and log evidence, from the proposal's draws.
    rounds
        Acceptance after each round of training.
    num_grad
        Gradients of the target that exploring and training took.
    num_stages
        Temperatures of the exploration.
    seconds
        Exploring and training, compiling included.
    template
        A position of the model's structure and shapes; its values are ignored.

    Examples
    --------
    Returned by `GlobalLocal.fit`, taken by `GlobalLocal.from_score`:

    >>> from numpyro_score.learned import Fitted
    >>> Fitted._fields[:3]
    ('proposal', 'particles', 'quality')
    """

    proposal: LearnedProposal
    particles: Float[Array, "num dim"]
    quality: Quality
    rounds: tuple[float, ...]
    num_grad: int
    num_stages: int
    seconds: dict[str, float]
    template: Position

    @property
    def learned(self) -> LearnedProposal:
        """What the steps use."""
        return self.proposal

    @property
    def attributes(self) -> dict[str, float]:
        """What a run records: the cost of learning, and the quality of the proposal."""
        found = self.quality
        return {
            **cost_attributes(self.num_grad, self.seconds),
            "importance_ess_fraction": found.ess_fraction,
            "pareto_k": found.pareto_k,
            "log_evidence": found.log_evidence,
            "log_evidence_error": found.log_evidence_error,
        }

    def warn_if_poor(self) -> None:
        """Warn of a proposal that is rarely accepted or has a heavy tail, with what to do."""
        found = self.quality
        if not found.acceptance_rate >= LEAST_ACCEPTANCE:
            _warn(
                f"global moves are accepted with probability {found.acceptance_rate:.3f}: the "
                "chains explore by their local moves alone. Raise num_particles or rounds, give a "
                "larger network, or use MALA or NUTS if the posterior has one mode."
            )
        elif not found.pareto_k <= LARGEST_K:
            _warn(
                f"the weights of the global proposals have a heavy tail (Pareto k "
                f"{found.pareto_k:.2f}, above {LARGEST_K}): a chain may stay at single points for "
                "long, and a region may be missing from the proposal. Raise num_particles or "
                "rounds, and look at longest_rejection."
            )


def _warn(message: str) -> None:
    # attributed to the user's line that called the package
    warnings.warn(message, UserWarning, skip_file_prefixes=(PACKAGE,))
