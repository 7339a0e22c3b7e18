"""Training of a flow with a density on unconstrained points, with or without conditions."""

from pathlib import Path
from typing import Any, TypedDict, Unpack

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from numpyro_score.distributions.conditional_flow import ConditionalFlow, regress
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import LearnedProposal, flow_proposal
from numpyro_score.scores.standardisation import check_resolution
from numpyro_score.training import fit_score
from numpyro_score.types import RngKey

NUM_FLOW_STEPS = 24
"""Steps of the map; with fewer the density is cheaper, and approximates the draws less well."""


class FlowOptions(TypedDict, total=False):
    """Options of the training and of the flow, by name; all may be left out.

    Attributes
    ----------
    width, depth, num_steps, checkpoint, progress
        Of the network and its training, as in `numpyro_score.training.fit_score`; by default a
        width of 64, a depth of 3, 3,000 steps, no checkpoint and a progress bar.
    num_flow_steps
        Steps of the map, by default 24; the cost of the density is proportional to their number.
    weight, df
        Weight, in [0, 1), and degrees of freedom of the Student t part, by default .02 and 5.

    Examples
    --------
    >>> import jax, numpy as np
    >>> from numpyro_score.distributions import LearnedDistribution
    >>> options = FlowOptions(num_steps=20, num_flow_steps=8, progress=False)
    >>> values = np.random.default_rng(0).normal(size=(500, 2))
    >>> LearnedDistribution.fit(values, rng_key=jax.random.key(0), **options).event_shape
    (2,)
    """

    width: int
    depth: int
    num_steps: int
    num_flow_steps: int
    weight: float
    df: int
    checkpoint: str | Path | None
    progress: bool | ProgressCallback


DEFAULTS: FlowOptions = {
    "width": 64,
    "depth": 3,
    "num_steps": 3000,
    "num_flow_steps": NUM_FLOW_STEPS,
    "weight": 0.02,
    "df": 5,
    "checkpoint": None,
    "progress": True,
}
"""What options are where they are left out."""


def check_options(options: FlowOptions) -> None:
    """Check the names of the options, before anything is simulated or trained.

    Raises
    ------
    TypeError
        If one is unknown.
    """
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise TypeError(f"unknown options {unknown}; there are {sorted(DEFAULTS)}")


def train_flow(
    points: Float[np.ndarray, "num dim"],
    conditions: Float[np.ndarray, "num condition"] | None,
    rng_key: RngKey,
    **options: Unpack[FlowOptions],
) -> LearnedProposal | ConditionalFlow:
    """Train the score of the points, and build its probability flow.

    Parameters
    ----------
    points, conditions
        In double precision.
    rng_key
        For the training.
    options
        See `FlowOptions`.

    Raises
    ------
    ValueError
        As in `fit_score`; or if single precision does not resolve the spread of the points, or
        a coordinate is constant.
    TypeError
        If an option is unknown.
    """
    check_options(options)
    chosen: FlowOptions = {**DEFAULTS, **options}
    check_resolution(points.mean(axis=0), points.std(axis=0), jnp.result_type(float))
    constant = np.flatnonzero(np.ptp(points, axis=0) == 0)
    if len(constant):
        raise ValueError(
            f"{len(constant)} of {points.shape[1]} coordinates are constant (the first is number "
            f"{constant[0]}), and have no density; leave them out"
        )
    mean: Any = 0.0
    data: Any = points
    if conditions is not None:
        known, sd, slope, y = regress(points, conditions)
        mean = points.mean(axis=0)
        data = (points - mean - y @ slope.T, y)
    model, _ = fit_score(
        data,
        rng_key=rng_key,
        width=chosen["width"],
        depth=chosen["depth"],
        num_steps=chosen["num_steps"],
        checkpoint=chosen["checkpoint"],
        progress=chosen["progress"],
    )
    whitening = model.whitening
    flow = flow_proposal(
        model.standard,
        model.noise,
        points.shape[1],
        num_steps=chosen["num_flow_steps"],
        data=whitening.whiten(data if conditions is None else data[0]),
        center=mean + whitening.center,
        factor=whitening.factor,
        weight=chosen["weight"],
        df=chosen["df"],
    )
    if conditions is None:
        return flow
    rows = (jnp.asarray(x, jnp.result_type(float)) for x in (known, sd, slope))
    return ConditionalFlow(flow, *rows)
