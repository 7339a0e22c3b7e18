"""Draws as one HTML page: a verdict in words, tables, pictures."""

from numpyro_score.report.run_report import write_report

__all__ = ["write_report"]
