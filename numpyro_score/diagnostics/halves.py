"""Whether the two halves of a single chain disagree, which is all that one chain can show.

A chain that moves slowly, or still drifts, has halves of different levels. What it has not reached
it cannot show: that takes several chains, from different starts.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed, rhat
from numpyro_score.diagnostics.wording import Words


def as_chains(
    values: Float[np.ndarray, "*batch chain draw"],
) -> Float[np.ndarray, "*batch two half"]:
    """The halves of one chain as two chains; several chains are left alone.

    Examples
    --------
    >>> as_chains(np.arange(5.0)[None])
    array([[0., 1.],
           [2., 3.]])
    """
    *batch, num_chains, num_draws = values.shape
    if num_chains > 1:
        return values
    half = num_draws // 2
    return values[..., : 2 * half].reshape(*batch, 2, half)


def disagreeing_halves(labels: Sequence[str], worst: float, limit: float) -> Finding:
    """That R-hat between the halves of one chain is above its limit.

    Parameters
    ----------
    labels
        Parameters that it is above of, the worst first.
    worst, limit
        The largest R-hat, and what it is compared with.
    """
    return Finding("halves", Severity.WARNING, tuple(labels), worst, limit)


def halves_words(found: Finding) -> Words:
    """The finding of `disagreeing_halves` in words."""
    return Words(
        f"The two halves of the chain disagree on {listed(found.parameters)}: R-hat between them "
        f"is up to {rhat(found.value)} (limit {found.limit:.4g} for a run of this length).",
        "Warm up and run longer, with several chains: one cannot show what it has not reached.",
    )
