"""What draws are worth: convergence, cost, error against known values, kernels compared."""

from numpyro_score.diagnostics.comparing import compare, find_target
from numpyro_score.diagnostics.comparison import Comparison, Settings
from numpyro_score.diagnostics.cost import Costs, costs
from numpyro_score.diagnostics.errors import chance_limit, expectation_errors
from numpyro_score.diagnostics.rhat_ess import convergence, worst_first
from numpyro_score.diagnostics.verdict import Verdict, judge

__all__ = [
    "Comparison",
    "Costs",
    "Settings",
    "Verdict",
    "chance_limit",
    "compare",
    "convergence",
    "costs",
    "expectation_errors",
    "find_target",
    "judge",
    "worst_first",
]
