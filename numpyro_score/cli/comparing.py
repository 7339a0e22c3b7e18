"""`numpyro-score compare`: kernels on targets, and a report about them."""

import argparse
from typing import Any

import jax

from numpyro_score import plugins
from numpyro_score.cli.common import (
    INTERRUPTED,
    add_command,
    add_lengths,
    add_output,
    check_output,
    checking,
    say,
)
from numpyro_score.diagnostics import find_target
from numpyro_score.report import compare


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    added = add_command(
        commands, "compare", _compare, "Compare kernels on targets and write a report."
    )
    for name in ("target", "kernel"):
        added.add_argument(
            f"--{name}", action="append", required=True, metavar="NAME", help="may be given again"
        )
    add_lengths(added)
    add_output(added, "report.html")


def _compare(args: argparse.Namespace) -> int:
    with checking():
        kernels = {name: plugins.load(plugins.KERNELS, name) for name in args.kernel}
        targets = [find_target(name) for name in dict.fromkeys(args.target)]
    check_output(args.out)
    comparison = compare(
        kernels,
        targets,
        jax.random.key(args.seed),
        num_warmup=args.warmup,
        num_samples=args.samples,
        num_chains=args.chains,
        progress=args.progress,
    )
    if not comparison.runs and not comparison.is_complete:
        say("interrupted before the first run ended; no report is written")
        return INTERRUPTED
    path = comparison.to_html(args.out, progress=args.progress)
    failed = comparison.table[comparison.table["failure"] != ""]
    for (target, kernel), failure in failed["failure"].items():
        say(f"{kernel} on {target}: {failure}")
    print(f"The report is at {path}")
    return 0 if comparison.is_complete else INTERRUPTED
