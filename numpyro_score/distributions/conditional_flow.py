"""A conditional flow: a linear regression on the condition, and a flow for its residuals.

    x = c + B y + L u,    y = (condition - mean) / sd,

where the distribution of `u` is the flow of a score given `y`. The regression takes up the linear
dependence on the condition, and the network learns the rest. For a fixed condition the regression
is a shift, which does not change volumes.
"""

from dataclasses import replace
from typing import Any, final

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.samplers.proposals import LearnedProposal
from numpyro_score.samplers.proposals.monotone import MonotoneFlow
from numpyro_score.types import Scalar

SMALLEST_SD = 1e-6
"""Sd of a condition's coordinate, relative to its size, below which it counts as constant."""


@final
class GivenCondition(eqx.Module):
    """A score `(x, t, y)` with the condition `y` fixed, as a score `(x, t)`."""

    score: Any
    y: Float[Array, " condition"]

    def __call__(self, x: Float[Array, " dim"], t: Scalar) -> Float[Array, " dim"]:
        """The score at one point and time."""
        return self.score(x, t, self.y)


@final
class ConditionalFlow(eqx.Module):
    """A `LearnedProposal` for every condition.

    Attributes
    ----------
    flow
        The proposal at a standardised condition of 0; its score takes a condition as third
        argument.
    mean, sd
        Mean and sd by which a condition is standardised, each `(condition,)`.
    slope
        Regression coefficients of the center on the standardised condition, `(dim, condition)`.
    """

    flow: LearnedProposal
    mean: Float[Array, " condition"]
    sd: Float[Array, " condition"]
    slope: Float[Array, "dim condition"]

    @property
    def dim(self) -> int:
        """Length of a point."""
        return self.flow.dim

    def at(self, condition: Float[Array, " condition"]) -> LearnedProposal:
        """The proposal at one condition."""
        flow = self.flow
        learned = flow.learned
        assert isinstance(learned, MonotoneFlow)
        y = (condition - self.mean) / self.sd
        given = MonotoneFlow(
            GivenCondition(learned.score, y),
            learned.noise,
            learned.times,
            learned.ratios,
            learned.start_mean,
            learned.start_sd,
        )
        center = flow.center + self.slope @ y
        return replace(flow, learned=given, center=center)


def regress(
    points: Float[np.ndarray, "num dim"], conditions: Float[np.ndarray, "num condition"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Linear regression of points on standardised conditions.

    Returns
    -------
    Mean and sd of the conditions, the slope `(dim, condition)`, and the standardised conditions.
    """
    mean, sd = conditions.mean(axis=0), conditions.std(axis=0)
    sd = np.where(sd > SMALLEST_SD * np.maximum(np.abs(mean), 1e-300), sd, 1.0)
    y = (conditions - mean) / sd
    ridge = 1e-3 * np.eye(y.shape[1])
    slope = np.linalg.solve(y.T @ y / len(y) + ridge, y.T @ (points - points.mean(axis=0)) / len(y))
    return mean, sd, slope.T, y
