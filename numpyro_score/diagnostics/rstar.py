"""R*: whether a classifier can tell from which chain a draw is.

R* is its accuracy on draws it has not seen times the number of chains, 1 if the chains are alike
(Lambert and Vehtari, R*: A robust MCMC convergence diagnostic with uncertainty using decision tree
classifiers, Bayesian Analysis 2022, arXiv:2003.07900). It detects what no single parameter shows: a
correlation that one chain lacks. Three things differ from the paper:

* Each chain is cut into blocks, and the classifier is trained on every other one and tested on the
  rest, then the other way round. A draw put aside at random would be known by its neighbours in the
  same chain, whatever the chains' distributions.
* The uncertainty is that of the accuracy: binomial, from the number of test draws divided by the
  longest autocorrelation time; those of one half, since both are right together.
* Trees are extremely randomized ones (Geurts, Ernst and Wehenkel 2006, doi:10.1007/s10994-006-
  6226-1): as good here as boosted ones, and 20 times as fast with many chains.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier

MAX_DRAWS = 20_000
"""Draws of all chains that are used, evenly spaced."""

MIN_DRAWS = 20
"""Draws a chain below which there is nothing to learn from."""

MAX_BLOCKS, TAUS_PER_BLOCK = 10, 10.0
"""Blocks that a chain is cut into at most, and their length at least, in autocorrelation times."""


class RStar(NamedTuple):
    """How well a classifier tells chains apart.

    Attributes
    ----------
    value
        Accuracy times chains; 1 if chains are alike.
    standard_error
        Of the value.
    p_value
        Probability of a value as large where chains are alike.
    """

    value: float
    standard_error: float
    p_value: float


def default_classifier(seed: int) -> ExtraTreesClassifier:
    """Trees whose leaves hold 20 draws: fewer would only learn the noise."""
    return ExtraTreesClassifier(n_estimators=100, min_samples_leaf=20, random_state=seed)


def thinning(num_chains: int, num_draws: int) -> int:
    """The step of a thinning that leaves at most `MAX_DRAWS` draws."""
    return max(-(-num_chains * num_draws // MAX_DRAWS), 1)


def rstar(
    draws: Float[np.ndarray, "chain draw parameter"],
    tau: float = 1.0,
    *,
    classifier: Any = None,
    seed: int = 0,
) -> RStar:
    """R* of some chains, with its uncertainty.

    Parameters
    ----------
    draws
        Finite draws, in order, evenly spaced.
    tau
        Longest autocorrelation time of a parameter, in these draws.
    classifier
        A scikit-learn classifier, which is cloned; None for extremely randomized trees.
    seed
        Of the default classifier.

    Raises
    ------
    ValueError
        If there is one chain, or fewer than `MIN_DRAWS` draws a chain.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 500, 2))
    >>> x[0, :, 1] = x[0, :, 0]  # one chain has a correlation of 1, and the others' marginals
    >>> rstar(x).value > 1.2
    True
    """
    num_chains, num_draws, num_parameters = draws.shape
    if num_chains < 2 or num_draws < MIN_DRAWS:
        raise ValueError(
            f"R* compares at least 2 chains of {MIN_DRAWS} draws, got {num_chains} of {num_draws}"
        )
    model = default_classifier(seed) if classifier is None else classifier
    tau = max(tau, 1.0)
    num_blocks = int(np.clip(num_draws / (TAUS_PER_BLOCK * tau), 2, MAX_BLOCKS))
    is_odd = np.tile((np.arange(num_draws) * num_blocks // num_draws) % 2 == 1, num_chains)
    chain = np.repeat(np.arange(num_chains), num_draws)
    points = draws.reshape(-1, num_parameters)
    num_right = 0
    for held_out in (is_odd, ~is_odd):
        fitted = clone(model).fit(points[~held_out], chain[~held_out])
        num_right += int(np.sum(fitted.predict(points[held_out]) == chain[held_out]))
    accuracy = num_right / chain.size
    # chance that makes the halves alike makes the draws of both known: they count once
    effective = max(int(chain.size / (2 * tau)), 1)
    error = np.sqrt(max(accuracy * (1 - accuracy), 0.0) / effective)
    p_value = stats.binom.sf(round(accuracy * effective) - 1, effective, 1 / num_chains)
    return RStar(num_chains * accuracy, float(num_chains * error), float(p_value))


def try_rstar(
    parameters: Sequence[Float[np.ndarray, "chain draw"]],
    tau: float,
    *,
    classifier: Any = None,
    seed: int = 0,
) -> tuple[RStar, str]:
    """R*, or NaN and the reason why there is none.

    Parameters
    ----------
    parameters
        Finite draws of every parameter that varies.
    tau, classifier, seed
        As for `rstar`.

    Examples
    --------
    >>> try_rstar([np.eye(1)], 1.0)[1]
    'there is one chain'
    """
    reason = ""
    if not parameters:
        reason = "no parameter varies and is finite"
    elif parameters[0].shape[0] < 2:
        reason = "there is one chain"
    elif parameters[0].shape[1] < MIN_DRAWS:
        reason = f"there are fewer than {MIN_DRAWS} draws a chain"
    if reason:
        return RStar(float("nan"), float("nan"), float("nan")), reason
    draws = np.stack(parameters, axis=-1)
    try:
        return rstar(draws, tau, classifier=classifier, seed=seed), ""
    except ValueError as error:
        # numbers that a classifier cannot take must not cost the other statistics
        reason = f"the classifier failed ({error})"
        return RStar(float("nan"), float("nan"), float("nan")), reason
