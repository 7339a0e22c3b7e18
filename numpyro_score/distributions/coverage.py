"""Whether draws stay in the region of the draws that a distribution was learned from.

The region has two conditions: the log density is above its .01 quantile over the training points,
and the distance from the center is at most the largest of theirs. Outside of the region a learned
density is an extrapolation: it falls like the Student t part, but its values are not reliable.
"""

import warnings
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from numpyro.distributions import biject_to
from numpyro.infer import MCMC

from numpyro_score.distributions.density import log_density
from numpyro_score.groups import SAMPLE_DIMS, read_group
from numpyro_score.samplers.proposals import LearnedProposal

NUM_KEPT = 1000
"""Number of training points that are kept."""

OUTSIDE = 0.01
"""Share of the training points that the region leaves out."""

MOST_OUTSIDE = 0.05
"""Share of draws outside of the region above which a warning is given."""


class Coverage(NamedTuple):
    """How many draws lie outside of the region that a distribution was learned on.

    Attributes
    ----------
    outside
        Share of the draws outside of the region that holds .99 of the training points.
    by_chain
        The same share for every chain.
    expected
        The share that is expected of draws of the distribution itself.
    is_covered
        Whether `outside` is at most .05.

    Examples
    --------
    >>> Coverage(0.5, np.array([0.0, 1.0]), 0.01, False).outside
    0.5
    """

    outside: float
    by_chain: Float[np.ndarray, " chain"]
    expected: float
    is_covered: bool


def kept_points(points: Float[np.ndarray, "num dim"]) -> Float[Array, "kept dim"]:
    """An evenly spaced subset of the training points."""
    every = max(len(points) // NUM_KEPT, 1)
    return jnp.asarray(points[::every][:NUM_KEPT], jnp.result_type(float))


def coverage_of(distribution: Any, data: Any, name: str | None) -> Coverage:
    """As `LearnedDistribution.coverage`."""
    points, flow = distribution.points, distribution.flow
    if points is None or not isinstance(flow, LearnedProposal):
        raise ValueError("the distribution has no training points; give points= to its constructor")
    values = _chains(data, name, distribution.event_shape)
    chains, num = values.shape[:2]
    u = biject_to(distribution.support).inv(jnp.asarray(values, points.dtype))
    u = u.reshape(chains * num, -1)
    lowest = np.quantile(np.asarray(log_density(flow, points, None)), OUTSIDE)
    furthest = _radius(flow, points).max()
    is_outside = (np.asarray(log_density(flow, u, None)) < lowest) | (_radius(flow, u) > furthest)
    by_chain = is_outside.reshape(chains, num).mean(axis=1)
    share = float(by_chain.mean())
    if share > MOST_OUTSIDE:
        warnings.warn(
            f"a share {share:.2f} of the draws lies outside of the region that the distribution "
            f"was learned on (by chain {by_chain.min():.2f} to {by_chain.max():.2f}; "
            f"{OUTSIDE} is usual), where its density is an extrapolation. The data disagree with "
            "the learned distribution, or chains are in its tails; learn from wider draws.",
            stacklevel=3,
        )
    return Coverage(share, by_chain, OUTSIDE, share <= MOST_OUTSIDE)


def _radius(flow: LearnedProposal, u: Float[Array, "num dim"]) -> np.ndarray:
    """Distance from the center, in units of the whitened coordinates."""
    white = np.linalg.solve(np.asarray(flow.factor), np.asarray(u - flow.center).T)
    return np.linalg.norm(white, axis=0)


def _chains(
    data: Any, name: str | None, event_shape: tuple[int, ...]
) -> Float[np.ndarray, "chain draw *event"]:
    """Draws of the site, by chain."""
    if isinstance(data, MCMC):
        data = data.get_samples(group_by_chain=True)
    elif isinstance(data, xr.DataTree):
        data = read_group(data, "posterior")
    if isinstance(data, xr.Dataset):
        data = {
            str(key): x.transpose(*SAMPLE_DIMS, ...).values for key, x in data.data_vars.items()
        }
    if not isinstance(data, dict):
        data = {"the draws": data}
    arrays = {key: np.asarray(x) for key, x in data.items() if name in (None, key)}
    # an array without chains is one chain
    found = {
        key: x if x.ndim == len(event_shape) + 2 else x[None]
        for key, x in arrays.items()
        if x.ndim - len(event_shape) in (1, 2)
        and x.shape[x.ndim - len(event_shape) :] == event_shape
    }
    if len(found) != 1:
        shapes = {key: x.shape for key, x in arrays.items()}
        raise ValueError(
            f"{len(found)} of the variables {shapes} have draws of shape {event_shape}; give "
            "name=, the site with this distribution"
        )
    return next(iter(found.values()))
