"""A learned proposal with its record: all that a kernel needs to sample."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from numpyro_score.learned.evidence import Evidence
from numpyro_score.learned.importance import LARGEST_K, Quality
from numpyro_score.learned.preparation import LEARNING_WARNINGS, ONE_SIDED, cost_attributes
from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.types import Position

PACKAGE = str(Path(__file__).parents[1])

NEARLY_EQUAL = 0.9
"""Effective share of the proposal's draws from which the tail of their weights is not looked at:
where all weights are about equal, the shape of their tail is noise, and was above the limit for one
sound proposal in ten."""

LEAST_ACCEPTANCE = 0.05
"""Acceptance of global moves below which they are warned of."""

LEAST_EFFECTIVE = 0.05
"""Effective share of the proposal's draws below which the evidence is warned of: few draws carry
most of the weight, and its standard error is then too small."""

SOME_WEIGHT = 0.01
"""Weight from which a region matters."""

LEAST_STARTS = 200
"""Particles and chains of an exploration, below which modes of some weight are easily missed."""

FEW_STARTS = 10
"""Particles and chains that found a region, below which others may have been missed."""

UNDERFOUND = 3.0
"""Weight of a region over its share of the starts from which it counts as hard to find."""

MAX_GAP = 4.0
"""Standard errors that the weights of a region in two explorations may be apart."""


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
        Acceptance after each round, those of the mixture of Gaussians before those of training.
    num_grad
        Gradients of the target that exploring and training took.
    num_stages
        Temperatures of the exploration.
    seconds
        Exploring and training, compiling included.
    template
        A position of the model's structure and shapes; its values are ignored.
    evidence
        The log evidence with an error in which the exploration has its say; None where there was
        none.
    region_counts
        `(5, regions + 1)`: particles in each region that was found, of the first annealing, of
        chains from draws of the reference, of chains from further out, and of two independent
        annealings; the last column is outside of all.
    share_errors
        `(2, regions + 1)`: standard errors of the shares of particles in the two independent
        annealings.
    stopped
        Why the rounds of the proposal that was kept ended: "accepted", "no gain" or "rounds".
    error
        Mean squared error of the network at the end of the training that was kept, for each
        coordinate, in units of the noise's variance: 0 of the true score of a Gaussian target, 1 of
        a network that predicts nothing. NaN of a mixture of Gaussians.

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
    region_counts: Float[np.ndarray, "5 regions"] | None = None
    share_errors: Float[np.ndarray, "2 regions"] | None = None
    stopped: str = "rounds"
    error: float = float("nan")

    @property
    def learned(self) -> LearnedProposal:
        """What the steps use."""
        return self.proposal

    @property
    def kind(self) -> str:
        """What the proposal is: "mixture", "flow" or "path"."""
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
            ONE_SIDED: float(self.num_one_sided),
            LEARNING_WARNINGS: "\n".join(self.problems()),
        }

    @property
    def num_one_sided(self) -> int:
        """Regions of some weight that annealing or dispersed chains found, and not both."""
        if self.region_counts is None:
            return 0
        annealed, near, far, one, other = self.region_counts[:, :-1]
        weights = (one + other) / self.region_counts[3:].sum()
        is_one_sided = (np.minimum(annealed, near + far) == 0) & (weights >= SOME_WEIGHT)
        return int(is_one_sided.sum())

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
        elif not found.pareto_k <= LARGEST_K and not found.ess_fraction >= NEARLY_EQUAL:
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
            proposal, annealing = self.evidence.by_proposal, self.evidence.by_annealing
            first = self.evidence.at_least
            problems.append(
                f"estimates of the log evidence disagree: {proposal[0]:.3f} +- {proposal[1]:.3f} "
                f"from the proposal, {annealing[0]:.3f} +- {annealing[1]:.3f} from annealing "
                f"regions, {first[0]:.3f} +- {first[1]:.3f} from annealing the reference. The "
                "proposal or the exploration misses a part of the target: weights of modes and the "
                "evidence may be wrong. Raise num_particles, or give a wider reference."
            )
        if self.region_counts is not None:
            problems.extend(_doubts(self.region_counts))
            if self.share_errors is not None:
                problems.extend(_disagreement(self.region_counts[3:], self.share_errors))
        return problems


def _doubts(counts: Float[np.ndarray, "5 regions"]) -> list[str]:
    """What the counts of particles in regions leave in doubt."""
    annealed, near, far, one, other = counts
    weights = (one + other) / (one + other).sum()
    starts = annealed + near + far
    problems = []
    if starts.sum() < LEAST_STARTS:
        problems.append(
            f"the target was explored from {int(starts.sum())} starts only: a mode that fewer than "
            f"one in {int(starts.sum()) // FEW_STARTS} of them lead to may have been missed. Raise "
            "num_particles."
        )
    # a cluster within one mode is found in proportion to its weight; a mode apart is not
    is_underfound = weights > UNDERFOUND * starts / starts.sum()
    rare = (weights >= SOME_WEIGHT) & (starts < FEW_STARTS) & is_underfound
    # the last column is what no region covers
    rare[-1] = False
    if rare.any():
        k = int(np.argmax(np.where(rare, weights, 0)))
        problems.append(
            f"a region of weight {weights[k]:.2f} was found by {int(starts[k])} of "
            f"{int(starts.sum())} starts: others of its kind may have been missed. Raise "
            "num_particles, or give a reference nearer to where the modes are."
        )
    is_outside = (weights >= SOME_WEIGHT) & (annealed + near == 0)
    is_outside[-1] = False
    if is_outside.any() and not rare.any():
        k = int(np.argmax(np.where(is_outside, weights, 0)))
        problems.append(
            f"a region of weight {weights[k]:.2f} was found by chains from outside of the "
            "reference alone: others that are further out may have been missed. Give a wider "
            "reference."
        )
    return problems


def _disagreement(
    counts: Float[np.ndarray, "2 regions"], errors: Float[np.ndarray, "2 regions"]
) -> list[str]:
    """Whether two independent annealings give regions different weights."""
    nums = counts.sum(axis=1, keepdims=True)
    shares = counts / nums
    pooled = counts.sum(axis=0) / nums.sum()
    # at least those of independent draws, of which a half that has none says nothing
    least = np.maximum(pooled * (1 - pooled), 1 / nums.sum()) * (1 / nums).sum()
    error = np.sqrt(np.maximum((errors**2).sum(axis=0), least))
    gap = np.abs(shares[0] - shares[1])
    if not (gap > MAX_GAP * error).any():
        return []
    k = int(np.argmax(gap / error))
    return [
        f"two independent explorations give a region the weights {shares[0][k]:.3f} and "
        f"{shares[1][k]:.3f}: raise num_particles."
    ]


def _warn(message: str) -> None:
    # attributed to the user's line that called the package
    warnings.warn(message, UserWarning, skip_file_prefixes=(PACKAGE,))
