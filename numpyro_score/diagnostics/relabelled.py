"""Whether modes are one solution with other labels, or with other signs.

Where the components of a mixture, or the signs of factors, can change places, the posterior has a
mode for every arrangement. The mean of one component is then a mean over arrangements, and says
nothing of a component.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed
from numpyro_score.diagnostics.wording import Words

SAME = 0.5
"""Distance of two means, in standard deviations within a mode, up to which they are the same."""
MOVED = 2.0
"""Distance from which on they are not."""


def rearranged(
    means: Float[np.ndarray, "mode parameter"],
    sds: Float[np.ndarray, "mode parameter"],
    labels: Sequence[str],
) -> list[str]:
    """Vectors whose entries change places, or all signs, between modes, and do nothing else.

    Parameters
    ----------
    means, sds
        Of every parameter in every mode.
    labels
        Names of the parameters, `mu[0]` for entries of a vector.

    Examples
    --------
    >>> means = np.array([[1.0, 5.0, 2.0], [5.0, 1.0, 2.0]])
    >>> rearranged(means, np.full((2, 3), 0.5), ["mu[0]", "mu[1]", "sigma"])
    ['mu']
    """
    entries: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        if found := re.fullmatch(r"(.+)\[[^,\]]+\]", label):
            entries.setdefault(found[1], []).append(place)
    return [
        name
        for name, places in entries.items()
        if len(places) > 1 and _is_rearranged(means[:, places], sds[:, places])
    ]


def _is_rearranged(
    means: Float[np.ndarray, "mode entry"], sds: Float[np.ndarray, "mode entry"]
) -> bool:
    first = means[0]
    order = np.argsort(first)
    scale = np.sqrt((sds**2).mean(axis=0))
    typical = max(float(scale.max()), np.finfo(float).tiny)
    has_moved = np.abs(means - first).max(axis=1) > MOVED * typical
    sorted_alike = np.abs(np.sort(means, axis=1) - first[order]).max(axis=1) <= SAME * typical
    flipped = np.abs(means + first).max(axis=1) <= SAME * typical
    return bool(has_moved.any() and (sorted_alike | flipped).all())


def relabelled(names: Sequence[str]) -> list[Finding]:
    """That modes differ in labels, if so."""
    return [Finding("relabelled", Severity.NOTE, tuple(names), len(names))] if names else []


def relabelled_words(found: Finding) -> Words:
    """The finding of `relabelled` in words."""
    return Words(
        f"The modes look like one solution with other labels or signs: the entries of "
        f"{listed(found.parameters)} change places between them. Summaries of single entries are "
        "means over all arrangements.",
        "Give the components an order (OrderedTransform) or factors a sign, or relabel the draws; "
        "predictions do not depend on it.",
    )
