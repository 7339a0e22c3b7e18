"""Diagnostics of draws: burn-in, mixing, modes, distances, known values, cost."""

from numpyro_score.diagnostics.assessment import Assessment, assess
from numpyro_score.diagnostics.burn_in import burn_in
from numpyro_score.diagnostics.cost import Costs, costs
from numpyro_score.diagnostics.discrepancy import discrepancy
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.drop import drop_burn_in
from numpyro_score.diagnostics.errors import chance_limit, expectation_errors
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.mixing import mixing
from numpyro_score.diagnostics.modes import modes
from numpyro_score.diagnostics.quick_check import (
    ConvergenceWarning,
    quick_check,
    warn_if_not_converged,
)
from numpyro_score.diagnostics.rhat_ess import convergence, worst_first
from numpyro_score.diagnostics.status import Status
from numpyro_score.diagnostics.verdict import Verdict, judge

__all__ = [
    "Assessment",
    "ConvergenceWarning",
    "Costs",
    "Finding",
    "FlatDraws",
    "Severity",
    "Status",
    "Verdict",
    "assess",
    "burn_in",
    "chance_limit",
    "convergence",
    "costs",
    "discrepancy",
    "drop_burn_in",
    "expectation_errors",
    "flatten",
    "judge",
    "mixing",
    "modes",
    "quick_check",
    "warn_if_not_converged",
    "worst_first",
]
