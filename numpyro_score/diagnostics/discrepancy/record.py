"""The record of `discrepancy`."""

import xarray as xr

from numpyro_score.diagnostics.discrepancy.findings import WORDINGS, findings, section
from numpyro_score.diagnostics.discrepancy.measure import discrepancy
from numpyro_score.diagnostics.draws import FlatDraws
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.section import NO_COLUMNS


def _compute(draws: FlatDraws, given: Given) -> xr.Dataset | None:
    has_nothing = given.target is None and given.logdensity_fn is None and given.reference is None
    if has_nothing or not given.with_discrepancy:
        return None
    return discrepancy(
        draws,
        target=given.target,
        logdensity_fn=given.logdensity_fn,
        reference=given.reference,
        variables=given.variables,
    )


DISCREPANCY = Diagnostic(
    name="discrepancy",
    anchor="discrepancy",
    is_of_target=True,
    compute=_compute,
    findings=findings,
    wordings=WORDINGS,
    columns=NO_COLUMNS,
    section=section,
)
