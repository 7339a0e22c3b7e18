"""A learned proposal with its record: all that a kernel needs to sample."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from numpyro_score.learned.evidence import Evidence
from numpyro_score.learned.importance import LARGEST_K, Quality
from numpyro_score.learned.preparation import LEARNING_WARNINGS, ONE_SIDED, cost_attributes
from numpyro_score.learned.region_record import RegionRecord
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.types import Position

PACKAGE = str(Path(__file__).parents[1])

LEAST_ACCEPTANCE = 0.05
"""Acceptance of global moves below which they are warned of."""

LEAST_EFFECTIVE = 0.05
"""Effective share of the proposal's draws below which the evidence is warned of: few draws carry
most of the weight, and its standard error is then too small."""


class Fitted(NamedTuple):
    """A learned proposal with its record.

    Attributes
    ----------
    proposal
        The frozen proposal distribution, over flat unconstrained positions.
    particles
        `(num, dim)` flat positions for chains to start from.
    quality
        Acceptance, effective sample size, Pareto k and log evidence, from the proposal's draws.
    rounds
        Acceptance after each round, those of mixture and product before those of training.
    num_grad
        Gradients of the target that exploring and training took.
    num_stages
        Temperatures of the exploration.
    seconds
        Phase -> seconds, compiling included: `explore`, `adapt`, `look_again`, `adapt_more`,
        `adapt_product`, `anneal`, `adapt_again`, `adapt_product_again` and `train`, as far as there
        was need of them.
    template
        A position of the model's structure and shapes; its values are ignored.
    evidence
        The log evidence with an error in which the exploration has its say; None where there was
        none.
    regions
        What was found where; None where nothing was explored.
    stopped
        Why the rounds of the proposal that was kept ended: "accepted", "no gain" or "rounds".
    error
        Mean squared error of the network at the end of the training that was kept, for each
        coordinate, in units of the noise's variance: 0 of the true score of a Gaussian target, 1 of
        a network that predicts nothing. NaN where no network was trained.

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
    evidence: Evidence | None = None
    regions: RegionRecord | None = None
    stopped: str = "rounds"
    error: float = float("nan")

    @property
    def learned(self) -> LearnedProposal:
        """What the steps use."""
        return self.proposal

    @property
    def kind(self) -> str:
        """What the proposal is: "mixture", "product", "flow" or "path"."""
        return self.proposal.learned.kind

    @property
    def attributes(self) -> dict[str, Any]:
        """What a run records: the cost of learning, the quality of the proposal, and doubts."""
        found = self.quality
        evidence = found.log_evidence, found.log_evidence_error
        if self.evidence is not None:
            evidence = self.evidence.value, self.evidence.error
        return {
            **cost_attributes(self.num_grad, self.seconds),
            **{f"seconds_{phase}": value for phase, value in self.seconds.items()},
            "proposal": self.kind,
            "importance_ess_fraction": found.ess_fraction,
            "pareto_k": found.pareto_k,
            "log_evidence": evidence[0],
            "log_evidence_error": evidence[1],
            ONE_SIDED: float(0 if self.regions is None else self.regions.num_one_sided),
            LEARNING_WARNINGS: "\n".join(self.problems()),
        }

    def warn_if_poor(self) -> None:
        """Warn of what makes the jumps, or the evidence, unreliable, with what to do.

        Rare acceptance; a heavy tail of the weights; estimates of the evidence, or of the weights
        of regions, that disagree; a region of some weight that few starts led to, so that others
        may have been missed.
        """
        for message in self.problems():
            _warn(message)

    def problems(self) -> list[str]:
        """What `warn_if_poor` warns of."""
        found, problems = self.quality, []
        if not found.acceptance_rate >= LEAST_ACCEPTANCE:
            problems.append(
                f"global moves are accepted with probability {found.acceptance_rate:.3f}: the "
                "chains explore by their local moves alone. Raise num_particles or rounds, give a "
                "larger network, or use MALA or NUTS if the posterior has one mode."
            )
        elif found.has_heavy_tail:
            problems.append(
                f"the weights of the global proposals have a heavy tail (Pareto k "
                f"{found.pareto_k:.2f}, above {LARGEST_K}): a chain may stay at single points for "
                "long, and a region may be missing from the proposal. Raise num_particles or "
                "rounds, and look at longest_rejection."
            )
        elif found.ess_fraction < LEAST_EFFECTIVE:
            problems.append(
                f"the effective sample size of the global proposals is {found.ess_fraction:.3f} of "
                "their number: a few weights dominate, and the log evidence may be off by more "
                "than its standard error. Raise num_particles or rounds, or give a larger network."
            )
        if self.evidence is not None and not self.evidence.is_consistent:
            estimates = {
                "the proposal": self.evidence.by_proposal,
                "annealing regions": self.evidence.by_annealing,
                "annealing the reference": self.evidence.at_least,
            }
            said = ", ".join(
                f"{one[0]:.3f} +- {one[1]:.3f} from {name}"
                for name, one in estimates.items()
                if one is not None
            )
            problems.append(
                f"estimates of the log evidence disagree: {said}. The proposal or "
                "the exploration misses a part of the target: weights of modes and the "
                "evidence may be wrong. Raise num_particles, or give a wider reference."
            )
        if self.regions is not None:
            problems.extend(self.regions.doubts())
        return problems


def _warn(message: str) -> None:
    # attributed to the user's line that called the package
    warnings.warn(message, UserWarning, skip_file_prefixes=(PACKAGE,))
