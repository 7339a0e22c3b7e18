"""`numpyro-score diagnose`: a report about the draws in a file."""

import argparse
from pathlib import Path
from typing import Any

from numpyro_score.cli.common import add_command, add_output, check_output, checking
from numpyro_score.comparison import find_target
from numpyro_score.diagnostics.draws import posterior
from numpyro_score.diagnostics.files import read_draws
from numpyro_score.report import write_report


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    added = add_command(
        commands, "diagnose", _diagnose, "Write a report about the draws in a file."
    )
    added.add_argument("draws", type=Path, metavar="FILE", help="any that ArviZ wrote")
    added.add_argument(
        "--target",
        metavar="NAME",
        help="what they should be draws of: as `list` names it, or FILE.py:TARGET of your own",
    )
    added.add_argument(
        "--reference", type=Path, metavar="FILE", help="draws that are known to be good"
    )
    add_output(added, "report.html")


def _diagnose(args: argparse.Namespace) -> int:
    check_output(args.out)
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
