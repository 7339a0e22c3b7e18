"""Regions of a target, what found them, their weights, and what these numbers leave in doubt."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

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


class RegionRecord(NamedTuple):
    """What was found where; the last entry of every array is outside of all regions.

    Attributes
    ----------
    starts
        `(3, regions + 1)`: particles of the first annealing, chains from draws of the reference,
        and chains from further out.
    weights
        `(regions + 1,)`, of sum 1.
    halves, share_errors
        `(2, regions + 1)`: particles of two independent annealings, and standard errors of their
        shares; None where none were made.
    """

    starts: Float[np.ndarray, "3 regions"]
    weights: Float[np.ndarray, " regions"]
    halves: Float[np.ndarray, "2 regions"] | None = None
    share_errors: Float[np.ndarray, "2 regions"] | None = None

    @property
    def num_one_sided(self) -> int:
        """Regions of some weight that annealing or dispersed chains found, and not both."""
        annealed, near, far = self.starts[:, :-1]
        is_missing = np.minimum(annealed, near + far) == 0
        return int((is_missing & (self.weights[:-1] >= SOME_WEIGHT)).sum())

    def doubts(self) -> list[str]:
        """What the numbers leave in doubt, with what to do."""
        annealed, near, _ = self.starts
        weights, starts, problems = self.weights, self.starts.sum(axis=0), []
        if starts.sum() < LEAST_STARTS:
            problems.append(
                f"the target was explored from {int(starts.sum())} starts only: a mode that fewer "
                f"than one in {int(starts.sum()) // FEW_STARTS} of them lead to may have been "
                "missed. Raise num_particles."
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
        if self.halves is not None and self.share_errors is not None:
            problems.extend(_disagreement(self.halves, self.share_errors))
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
