"""The diagnostic of tails in which proposals are rejected, for `assess`.

It is computed in `tail_acceptance.py`, which the check at the end of every run imports without what
the other diagnostics need.
"""

import numpy as np

from numpyro_score.diagnostics.draws import FlatDraws
from numpyro_score.diagnostics.finding import Finding
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.section import NO_COLUMNS
from numpyro_score.diagnostics.tail_acceptance import (
    ACCEPTANCE,
    WORDINGS,
    of_log_density,
    rejected_tails,
    rejecting,
    statistics_of,
)
from numpyro_score.diagnostics.verdict import INDEPENDENT


def _compute(draws: FlatDraws, given: Given) -> list[Finding] | None:
    """The finding itself; None where no acceptance rate is recorded."""
    del given
    tree = draws.dt
    if "sample_stats" not in tree.children or tree.attrs.get(INDEPENDENT, False):
        return None
    known = statistics_of(draws.data, tree["sample_stats"].data_vars)
    if ACCEPTANCE not in known:
        return None
    usable = np.flatnonzero(draws.is_finite & ~draws.is_constant)
    tails = [
        tail.named(draws.labels[place])
        for place in usable
        for tail in rejecting(draws.values[place : place + 1], known[ACCEPTANCE])
    ]
    return rejected_tails([*tails, *of_log_density(known)], float(known[ACCEPTANCE].mean()))


TAIL_ACCEPTANCE = Diagnostic(
    name="tail_acceptance",
    anchor="tail_acceptance",
    is_of_target=False,
    compute=_compute,
    findings=lambda result, verdict: result,
    wordings=WORDINGS,
    columns=NO_COLUMNS,
    section=lambda result, verdict: None,
)
