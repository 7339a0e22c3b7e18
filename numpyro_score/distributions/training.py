"""Training of a flow with a density on unconstrained points, with or without conditions."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from numpyro_score.distributions.conditional_flow import ConditionalFlow, regress
from numpyro_score.progress import ProgressCallback
from numpyro_score.samplers.proposals import LearnedProposal, flow_proposal
from numpyro_score.scores.standardisation import check_resolution
from numpyro_score.training import fit_score
from numpyro_score.types import RngKey

NUM_FLOW_STEPS = 24
"""Steps of the map; with fewer the density is cheaper, and approximates the draws less well."""


def train_flow(
    points: Float[np.ndarray, "num dim"],
    conditions: Float[np.ndarray, "num condition"] | None,
    *,
    rng_key: RngKey,
    width: int,
    depth: int,
    num_steps: int,
    num_flow_steps: int,
    weight: float,
    df: int,
    checkpoint: str | Path | None,
    progress: bool | ProgressCallback,
) -> tuple[LearnedProposal | ConditionalFlow, xr.Dataset]:
    """Train the score of the points, and build its probability flow.

    Parameters
    ----------
    points, conditions
        In double precision.
    rng_key, width, depth, num_steps, checkpoint, progress
        As in `fit_score`.
    num_flow_steps, weight, df
        As in `flow_proposal`.

    Returns
    -------
    The flow, and the history of the training.

    Raises
    ------
    ValueError
        As in `fit_score`; or if single precision does not resolve the spread of the points.
    """
    check_resolution(points.mean(axis=0), points.std(axis=0), jnp.result_type(float))
    mean: Any = 0.0
    data: Any = points
    if conditions is not None:
        known, sd, slope, y = regress(points, conditions)
        mean = points.mean(axis=0)
        data = (points - mean - y @ slope.T, y)
    model, history = fit_score(
        data,
        rng_key=rng_key,
        width=width,
        depth=depth,
        num_steps=num_steps,
        checkpoint=checkpoint,
        progress=progress,
    )
    whitening = model.whitening
    flow = flow_proposal(
        model.standard,
        model.noise,
        points.shape[1],
        num_steps=num_flow_steps,
        data=whitening.whiten(data if conditions is None else data[0]),
        center=mean + whitening.center,
        factor=whitening.factor,
        weight=weight,
        df=df,
    )
    if conditions is None:
        return flow, history
    rows = (jnp.asarray(x, jnp.result_type(float)) for x in (known, sd, slope))
    return ConditionalFlow(flow, *rows), history
