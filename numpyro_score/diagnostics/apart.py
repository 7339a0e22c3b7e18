"""Whether chains form two groups in separate regions, as those of a local kernel in two modes do.

Chains that have not mixed may also be in many regions. They form two groups if one gap between the
means of chains is wide compared with the standard deviation within a chain, and wider than the
range of the means in either group. A single chain is not a group.
"""

import numpy as np
from jaxtyping import Float

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import listed
from numpyro_score.diagnostics.wording import Words

MAX_GAP = 3.0
"""Gap between means of chains, in standard deviations within a chain, that separates groups."""


def num_apart(values: Float[np.ndarray, "chain draw"]) -> int:
    """Chains in the smaller of two groups whose means a wide gap separates; 0 without a gap.

    Parameters
    ----------
    values
        Draws of one parameter; chains that do not move are left out.
    """
    moving = values[np.ptp(values, axis=1) > 0]
    if len(moving) < 2:
        return 0
    means = np.sort(moving.mean(axis=1))
    spread = np.sqrt(np.median(moving.var(axis=1)))
    gaps = np.diff(means)
    widest = int(np.argmax(gaps))
    # of chains that are all in different places none stays apart
    is_pair = max(means[widest] - means[0], means[-1] - means[widest + 1]) < gaps[widest]
    if not (is_pair and gaps[widest] > MAX_GAP * spread):
        return 0
    size = min(widest + 1, len(means) - widest - 1)
    return size if size > 1 else 0


def apart(label: str, num_apart: int, num_chains: int) -> Finding:
    """That some chains stay in a region of their own.

    Parameters
    ----------
    label
        The parameter that shows it best.
    num_apart, num_chains
        How many chains, of how many.
    """
    details = {"num_chains": num_chains}
    return Finding("apart", Severity.PROBLEM, (label,), num_apart, 0, details)


def apart_words(found: Finding) -> Words:
    """The finding of `apart` in words."""
    return Words(
        f"{found.value} of {found.details['num_chains']} chains stay in a region of their own, "
        f"apart from the others in {listed(found.parameters)}: if it is a mode, only a kernel that "
        "jumps between modes can estimate its weight (GlobalLocal, ParallelTempering).",
        "Compare the log densities of both groups (lp), and sample with GlobalLocal.",
    )
