"""How long a chain did not move: the longest sequence of rejected steps.

If a chain of `e` effective draws stays at each of them for a geometric time, its longest stay is
about `ln(e) / e` of its length, and with probability `1 - a` shorter than `(ln e - ln a) / e`. If a
chain does not move for a larger share, with `e` = 100, its estimates depend on one point.
"""

import math

import numpy as np
from jaxtyping import Bool, Int

from numpyro_score.diagnostics.outcome import FALSE_ALARM
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN

MAX_SHARE = (math.log(ESS_PER_CHAIN) - math.log(FALSE_ALARM)) / ESS_PER_CHAIN
"""Share of a chain's draws for which it may not move: 9.9%."""


def longest_rejection(has_moved: Bool[np.ndarray, "chain step"]) -> Int[np.ndarray, " chain"]:
    """Most consecutive steps at which a chain did not move.

    Parameters
    ----------
    has_moved
        Whether a draw differs from the one before it.

    Examples
    --------
    >>> longest_rejection(np.array([[True, False, False, True], [True] * 4])).tolist()
    [2, 0]
    """
    num_steps = has_moved.shape[1]
    step = np.arange(1, num_steps + 1)
    # since the last move, which a run begins after
    last_move = np.maximum.accumulate(np.where(has_moved, step, 0), axis=1)
    return (step - last_move).max(axis=1, initial=0)
