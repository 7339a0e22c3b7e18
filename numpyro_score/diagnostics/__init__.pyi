from .assessment import Assessment, assess
from .burn_in import burn_in
from .convergence import convergence
from .cost import Costs, costs
from .discrepancy import discrepancy
from .draws import FlatDraws, flatten
from .drop import drop_burn_in
from .errors import chance_limit, expectation_errors
from .finding import Finding, Severity
from .mixing import mixing
from .modes import modes
from .quick_check import (
    ConvergenceWarning,
    quick_check,
    warn_if_not_converged,
)
from .rhat_ess import worst_first
from .score_moments import score_moments
from .status import Status
from .verdict import Verdict, judge

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
    "score_moments",
    "warn_if_not_converged",
    "worst_first",
]
