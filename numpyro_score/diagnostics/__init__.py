"""What draws are worth: burn-in, mixing, modes, cost, error, and kernels compared."""

from numpyro_score.diagnostics.assessment import Assessment, assess
from numpyro_score.diagnostics.burn_in import burn_in
from numpyro_score.diagnostics.comparing import compare, find_kernel, find_target
from numpyro_score.diagnostics.comparison import Comparison, Settings
from numpyro_score.diagnostics.comparison_store import load_comparison
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
    "Comparison",
    "Costs",
    "Settings",
    "Verdict",
    "assess",
    "burn_in",
    "chance_limit",
    "compare",
    "convergence",
    "costs",
    "discrepancy",
    "drop_burn_in",
    "expectation_errors",
    "find_kernel",
    "find_target",
    "judge",
    "load_comparison",
    "mixing",
    "modes",
    "worst_first",
]
