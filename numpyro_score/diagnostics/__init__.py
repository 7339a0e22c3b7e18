"""What draws are worth: burn-in, mixing, modes, cost, error, and kernels compared."""

from numpyro_score.diagnostics.assessment import Assessment, assess
from numpyro_score.diagnostics.burn_in import burn_in
from numpyro_score.diagnostics.cost import Costs, costs
from numpyro_score.diagnostics.discrepancy import discrepancy
from numpyro_score.diagnostics.drop import drop_burn_in
from numpyro_score.diagnostics.errors import chance_limit, expectation_errors
from numpyro_score.diagnostics.mixing import mixing
from numpyro_score.diagnostics.modes import modes
from numpyro_score.diagnostics.rhat_ess import convergence, worst_first
from numpyro_score.diagnostics.verdict import Verdict, judge

__all__ = [
    "Assessment",
    "Costs",
    "Verdict",
    "assess",
    "burn_in",
    "chance_limit",
    "convergence",
    "costs",
    "discrepancy",
    "drop_burn_in",
    "expectation_errors",
    "judge",
    "mixing",
    "modes",
    "worst_first",
]
