"""`numpyro-score diagnose`: a report about the draws in a file."""

import argparse

from numpyro_score.cli.common import checking
from numpyro_score.comparison import find_target
from numpyro_score.diagnostics.files import read_draws
from numpyro_score.diagnostics.posterior import posterior
from numpyro_score.report import write_report


def do(args: argparse.Namespace) -> int:
    """Read the draws and write the report."""
    with checking():
        dt = read_draws(args.draws)
        posterior(dt)
        target = None if args.target is None else find_target(args.target)
        reference = None if args.reference is None else read_draws(args.reference)
        path = write_report(
            dt,
            args.out,
            title=args.draws.name,
            target=target,
            reference=reference,
            progress=args.progress,
        )
    print(f"The report is at {path}")
    return 0
