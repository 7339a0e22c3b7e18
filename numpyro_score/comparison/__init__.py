"""Kernels compared on targets: the same chains, budget and keys for each, cost counted alike."""

from numpyro_score.comparison.compare import compare
from numpyro_score.comparison.lookup import find_kernel, find_target
from numpyro_score.comparison.page import write_comparison
from numpyro_score.comparison.result import Comparison, Settings
from numpyro_score.comparison.store import load_comparison

__all__ = [
    "Comparison",
    "Settings",
    "compare",
    "find_kernel",
    "find_target",
    "load_comparison",
    "write_comparison",
]
