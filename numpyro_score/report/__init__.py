"""Results as one HTML page: a verdict in words, tables, pictures."""

from numpyro_score.report.comparison_report import compare, load_comparison, write_comparison
from numpyro_score.report.run_report import write_report

__all__ = ["compare", "load_comparison", "write_comparison", "write_report"]
