"""Modes found in draws: clusters with valleys of low density between them.

1. Directions with a valley (`valley.py`) are looked for among the parameters, in units of their
   interquartile range, and the principal components. Where there is none, there is one mode.
2. HDBSCAN (Campello, Moulavi and Sander 2013, doi:10.1007/978-3-642-37456-2_14, in scikit-learn)
   clusters the draws along those directions. It needs no number of clusters and takes any shape,
   where a Gaussian mixture cuts a banana into pieces and needs a covariance a mode; but it finds
   clusters in any noise, and cannot see one direction with modes among many without, hence steps 1
   and 3.
3. Draws that HDBSCAN calls noise join their neighbours, and two clusters become one unless there is
   a valley between them along the line through their centres, given how autocorrelated draws are
   around those centres.

A mode of less than `MIN_WEIGHT` of the draws is not found, nor modes that only
discrete parameters separate.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from numpyro_score.diagnostics.autocorrelation import autocorrelation_time
from numpyro_score.diagnostics.valley import LIMIT, valley

MIN_WEIGHT = 0.01
"""Share of the draws that a mode holds at least."""

MAX_DRAWS = 5_000
"""Draws that are clustered, evenly spaced."""

MAX_DIRECTIONS = 8
"""Directions along which draws are clustered, the deepest valleys first."""

MAX_COMPONENTS = 10
"""Principal components that are looked at."""

LEAST_SPREAD = 1e-4
"""Spread of a principal component, relative to the first, below which it is rounding error: that of
the sum of a simplex."""

NUM_NEIGHBOURS = 5
"""Neighbours whose majority a draw joins."""


def _directions(
    points: Float[np.ndarray, "draws parameter"],
) -> Float[np.ndarray, "parameter direction"]:
    """Directions with valleys, as weights of the parameters; in units of interquartile ranges."""
    low, high = np.quantile(points, (0.25, 0.75), axis=0)
    spread = high - low
    # most draws may be alike
    spread = np.where(spread > 0, spread, points.std(axis=0))
    num_components = min(MAX_COMPONENTS, *points.shape)
    axes = np.diag(1 / spread)
    if points.shape[1] > 1:
        found = PCA(num_components, random_state=0).fit(points / spread)
        varies = found.explained_variance_ > LEAST_SPREAD**2 * found.explained_variance_[0]
        components = found.components_[varies].T
        axes = np.concatenate([axes, components / spread[:, None]], axis=1)
    depth = np.array([valley(points @ axis) for axis in axes.T])
    order = np.argsort(-depth)
    chosen = axes[:, order[depth[order] > LIMIT][:MAX_DIRECTIONS]]
    along = points @ chosen
    return chosen / np.subtract(*np.quantile(along, (0.75, 0.25), axis=0))


def _separation(
    along: Float[np.ndarray, "chain draw direction"], label: Int[np.ndarray, "chain draw"]
) -> float:
    """Depth of the valley between the draws labelled 0 and 1, the others labelled -1."""
    centres = np.stack([along[label == mode].mean(axis=0) for mode in (0, 1)])
    line = centres[1] - centres[0]
    place = along @ line
    # what is left when each draw is taken from its centre tells how autocorrelated the draws are
    residual = np.where(label < 0, 0.0, place - (centres @ line)[label])
    tau = autocorrelation_time(residual)[0].tau
    return valley(place[label >= 0]) / float(np.sqrt(np.fmax(tau, 1.0)))


def _merge(
    along: Float[np.ndarray, "chain draw direction"], label: Int[np.ndarray, "chain draw"]
) -> Int[np.ndarray, "chain draw"]:
    """Clusters without a valley between them as one."""
    depth: dict[tuple[int, int], float] = {}
    while (num_clusters := label.max() + 1) > 1:
        for pair in combinations(range(num_clusters), 2):
            if pair not in depth:
                only = np.select([label == mode for mode in pair], [0, 1], -1)
                depth[pair] = _separation(along, only)
        (kept, gone), least = min(depth.items(), key=lambda item: item[1])
        if least > LIMIT:
            break
        # the last cluster takes the number of the one that is gone
        label = np.where(label == gone, kept, label)
        label = np.where(label == num_clusters - 1, gone, label)
        changed = {kept, gone, num_clusters - 1}
        depth = {pair: z for pair, z in depth.items() if not changed & set(pair)}
    return label


class Clusters(NamedTuple):
    """Modes, as regions of the space of parameters.

    Attributes
    ----------
    directions
        Weights of the parameters, `(parameter, direction)`; none if there is one mode.
    classifier
        From places along the directions to modes, or None if there is one.
    num_modes
        How many.
    """

    directions: Float[np.ndarray, "parameter direction"]
    classifier: KNeighborsClassifier | None
    num_modes: int


def find_modes(draws: Float[np.ndarray, "chain draw parameter"]) -> Clusters:
    """Modes of the density that draws come from.

    Parameters
    ----------
    draws
        Finite draws in order, evenly spaced, of parameters that vary; at most `MAX_DRAWS`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 500, 3))
    >>> find_modes(x).num_modes, find_modes(x + 8 * (x > 0)[..., :1]).num_modes
    (1, 2)
    """
    points = draws.reshape(-1, draws.shape[-1])
    directions = _directions(points)
    if not directions.shape[1]:
        return Clusters(directions, None, 1)
    along = points @ directions
    size = max(int(MIN_WEIGHT * len(along)), NUM_NEIGHBOURS)
    label = HDBSCAN(min_cluster_size=size, min_samples=size // 2 + 1, copy=True).fit_predict(along)
    if label.max() < 1:
        return Clusters(directions, None, 1)
    is_clear = label >= 0
    neighbours = KNeighborsClassifier(NUM_NEIGHBOURS).fit(along[is_clear], label[is_clear])
    label = np.where(is_clear, label, neighbours.predict(along))
    shape = draws.shape[:2]
    label = _merge(along.reshape(*shape, -1), label.reshape(shape)).ravel()
    num_modes = int(label.max()) + 1
    if num_modes == 1:
        return Clusters(directions, None, 1)
    return Clusters(directions, KNeighborsClassifier(NUM_NEIGHBOURS).fit(along, label), num_modes)
