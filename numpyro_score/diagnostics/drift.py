"""Whether the chains of a run drift from their start together, which R-hat does not show.

Many chains that start alike are alike for as long as they move towards the posterior: R-hat and
effective sample size may be right after a few hundred draws, while the mean of all chains is many
of its small standard errors off. The chains themselves say how large that error is, without an
estimate of autocorrelation: with `d_c` the mean of the first tenth of chain `c` less that of its
second half, `mean(d) / (sd(d) / sqrt(C))` has Student's distribution with `C - 1` degrees of
freedom (as in Geweke 1992, but over chains). A drift counts where it also shifts the mean of the
run by more than `MIN_SHIFT` standard errors.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed
from numpyro_score.diagnostics.wording import Words

MIN_CHAINS = 8
"""Chains from which on the spread between them tells the error of their mean."""

MIN_DRAWS = 200
"""Draws of each chain from which on a drift is looked for."""

MIN_SHIFT = 2.0
"""How far a drift shifts the mean of a run, in standard errors, to be told."""

FIRST = 0.1
"""Share of the draws that is compared with the second half."""


class Drifts(NamedTuple):
    """Of some parameters, how the mean over chains moves.

    Attributes
    ----------
    first
        Mean of the first draws less that of the second half, in standard errors.
    shift
        Mean of all draws less that of the second half, in standard errors of the former.
    """

    first: Float[np.ndarray, " parameter"]
    shift: Float[np.ndarray, " parameter"]


def drifts(values: Float[np.ndarray, "parameter chain draw"]) -> Drifts:
    """How far the first draws are from the later ones.

    Parameters
    ----------
    values
        Draws, finite and not constant.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(2, 16, 400))
    >>> x[1, :, :40] += 1.0
    >>> drifts(x).first.round(1), drifts(x).shift.round(1)
    (array([-0.2, 16.9]), array([-1.8,  8.4]))
    """
    num_draws = values.shape[2]
    late = values[..., num_draws // 2 :].mean(axis=-1)
    early = values[..., : max(int(FIRST * num_draws), 1)].mean(axis=-1)
    whole = values.mean(axis=-1)

    def error(means: Any) -> Any:
        tiny = np.finfo(float).tiny
        return np.maximum(means.std(axis=-1, ddof=1), tiny) / np.sqrt(means.shape[-1])

    first = (early - late).mean(axis=-1) / error(early - late)
    return Drifts(first, (whole - late).mean(axis=-1) / error(whole))


def largest_drift(num_chains: int, num_tests: int, false_alarm: float) -> float:
    """The distance, in standard errors, that chains without a drift do not exceed.

    Parameters
    ----------
    num_chains, num_tests
        How many chains, and how many parameters are looked at.
    false_alarm
        Probability that one of them exceeds it.

    Examples
    --------
    >>> round(largest_drift(64, 10, 1e-3), 1)
    4.2
    """
    return float(stats.t.isf(false_alarm / (2 * max(num_tests, 1)), num_chains - 1))


def drift_finding(labels: tuple[str, ...], distance: float, limit: float) -> Finding:
    """That chains drift.

    Parameters
    ----------
    labels
        The parameters, that with the largest distance first.
    distance, limit
        That distance, and what is allowed.
    """
    return Finding("early_draws", Severity.WARNING, labels, distance, limit)


def drift_words(found: Finding) -> Words:
    """The finding of a drift in words."""
    return Words(
        f"The chains still drift in the draws, in {listed(found.parameters)}: the mean of the "
        f"first tenth is {found.value:.0f} standard errors from that of the second half.",
        "Warm up longer, or leave out the first draws.",
    )
