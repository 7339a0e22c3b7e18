"""How good a proposal is, from the weights `p / q` of its own draws."""

import warnings
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Float

LARGEST_K = 0.7
"""Pareto k above which a proposal is warned of (Vehtari et al. 2024, arXiv:1507.02646)."""

NEARLY_EQUAL = 0.9
"""Effective share of the proposal's draws from which the tail of their weights is not looked at:
where all weights are about equal, the shape of their tail is noise, and was above the limit for one
sound proposal in ten. Of a log density of -1e6 in single precision they take few values, and k is
infinite."""


class Quality(NamedTuple):
    """Of an independence proposal.

    Attributes
    ----------
    acceptance_rate
        Of an independence chain in equilibrium.
    ess_fraction
        Effective sample size of importance sampling, per draw.
    pareto_k
        Shape of the weights' tail (Vehtari et al. 2024, arXiv:1507.02646): above .7 averages over
        weights cannot be trusted, and a chain is held for long by single points.
    log_evidence
        Log of the integral of the target's density, from the mean weight.
    log_evidence_error
        Its Monte Carlo standard error.

    Examples
    --------
    >>> import numpy as np
    >>> found = quality(np.log([1.0, 3.0] * 500))
    >>> round(found.log_evidence, 3), round(found.ess_fraction, 2)
    (0.693, 0.8)
    """

    acceptance_rate: float
    ess_fraction: float
    pareto_k: float
    log_evidence: float
    log_evidence_error: float

    @property
    def has_heavy_tail(self) -> bool:
        """Whether few weights dominate: by Pareto k, unless all weights are about equal."""
        return not self.pareto_k <= LARGEST_K and not self.ess_fraction >= NEARLY_EQUAL


NO_OVERLAP = Quality(0.0, 0.0, np.inf, -np.inf, np.inf)
"""Of a proposal none of whose draws has positive target density."""


def quality(
    log_weights: Float[np.ndarray, " num"],
    log_weights_evidence: Float[np.ndarray, " num"] | None = None,
    share: float = 1.0,
) -> Quality:
    """Estimate from the log weights of independent draws.

    Parameters
    ----------
    log_weights
        Of draws of the proposal's main part.
    log_weights_evidence
        The same for that part's own density; by default those above.
    share
        Of the main part. The rest counts as never accepted, which is nearly so.

    Examples
    --------
    >>> import numpy as np
    >>> found = quality(np.zeros(1000))  # the proposal is the target
    >>> found.acceptance_rate, found.ess_fraction
    (1.0, 1.0)
    """
    log_weights = np.asarray(log_weights, np.float64)
    num = len(log_weights)
    if not np.isfinite(log_weights.max()):
        return NO_OVERLAP
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    mean = weights.mean()
    relative = weights / mean
    # E min(w, w') / E w over all pairs: in sorted order the k-th smallest is the least of n - k
    ranked = np.sort(relative)
    pairs = num * (num - 1) / 2
    acceptance_rate = float((ranked * np.arange(num - 1, -1, -1)).sum() / pairs)
    own = log_weights if log_weights_evidence is None else np.asarray(log_weights_evidence, float)
    evidence = np.exp(own - own.max())
    return Quality(
        acceptance_rate=share * acceptance_rate,
        ess_fraction=share * float(1 / np.mean(relative**2)),
        pareto_k=tail_shape(log_weights),
        log_evidence=float(own.max() + np.log(evidence.mean())),
        log_evidence_error=float(evidence.std() / evidence.mean() / np.sqrt(num)),
    )


def tail_shape(log_weights: Float[np.ndarray, " num"]) -> float:
    """Pareto k of weights; -inf where the largest are all alike, and have no tail.

    It is infinite where all but few weights are 0 beside the largest.

    Parameters
    ----------
    log_weights
        Logarithms of the weights, of any constant factor.
    """
    if np.ptp(log_weights[np.isfinite(log_weights)]) <= 1e-6:
        return -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # it takes log likelihoods, minus the weights
            _, k = array_stats.psislw(-log_weights)
        except ValueError:
            return -np.inf
    return float(k) if np.isfinite(k) else np.inf
