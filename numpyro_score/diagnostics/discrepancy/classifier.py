"""Classifier two-sample test: whether a classifier separates two samples.

Its accuracy on unseen draws is 1/2 where both samples have one distribution (Lopez-Paz and Oquab
2017, arXiv:1610.06545). Every draw is tested once, by a classifier trained on the other half; the
halves are made of blocks of consecutive draws, so that a draw is not recognised by its neighbours
in the chain.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import clone

from numpyro_score.diagnostics.rstar import MAX_BLOCKS, default_classifier


def c2st(
    left: Float[np.ndarray, "a dim"],
    right: Float[np.ndarray, "b dim"],
    *,
    classifier: Any = None,
    num_blocks: int = MAX_BLOCKS,
    seed: int = 0,
) -> float:
    """Accuracy of a classifier that tells two samples apart.

    Parameters
    ----------
    left, right
        Samples, chain after chain; the accuracy is the mean of those on either.
    classifier
        A scikit-learn classifier, which is cloned; None for extremely randomized trees.
    num_blocks
        Blocks that each sample is cut into.
    seed
        Of the default classifier.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500, 2))
    >>> 0.45 < c2st(x, y) < 0.55, c2st(x, y + 2) > 0.8
    (True, True)
    """
    model = default_classifier(seed) if classifier is None else classifier
    sizes = len(left), len(right)
    points = np.concatenate([left, right])
    label = np.repeat([0, 1], sizes)
    is_odd = np.concatenate([np.arange(size) * num_blocks // size % 2 == 1 for size in sizes])
    # as if both were as many
    weight = np.repeat([1 / sizes[0], 1 / sizes[1]], sizes) * points.shape[0] / 2
    right_share = np.zeros(2)
    for held_out in (is_odd, ~is_odd):
        fitted = clone(model).fit(points[~held_out], label[~held_out], weight[~held_out])
        is_right = fitted.predict(points[held_out]) == label[held_out]
        for which in (0, 1):
            right_share[which] += np.sum(is_right[label[held_out] == which]) / sizes[which]
    return float(right_share.mean())
