"""`numpyro-score compare`: kernels on targets, and a report about them."""

import argparse
from pathlib import Path
from typing import Any

import jax

from numpyro_score.cli.common import (
    INTERRUPTED,
    BadInput,
    add_command,
    add_lengths,
    add_output,
    check_output,
    checking,
    say,
    whole,
)
from numpyro_score.comparison import compare, find_kernel, find_target


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    added = add_command(
        commands, "compare", _compare, "Compare kernels on targets and write a report."
    )
    for name in ("target", "kernel"):
        added.add_argument(
            f"--{name}",
            action="append",
            required=True,
            metavar="NAME",
            help=f"as `list` names it, or FILE.py:{name.upper()} of your own; may be given again",
        )
    add_lengths(added)
    added.add_argument(
        "--seeds", type=whole(1), default=1, help="runs of each, for intervals (default 1)"
    )
    added.add_argument(
        "--jobs", type=whole(1), default=1, help="runs at once, in processes (default 1)"
    )
    added.add_argument(
        "--store", type=Path, metavar="FOLDER", help="keep runs and tables there (a .zarr folder)"
    )
    added.add_argument("--resume", action="store_true", help="go on with the comparison in --store")
    add_output(added, "report.html")


def _compare(args: argparse.Namespace) -> int:
    with checking():
        kernels = {name: find_kernel(name) for name in args.kernel}
        targets = [find_target(name) for name in dict.fromkeys(args.target)]
    check_output(args.out)
    try:
        comparison = compare(
            kernels,
            targets,
            jax.random.key(args.seed),
            num_warmup=args.warmup,
            num_samples=args.samples,
            num_chains=args.chains,
            num_seeds=args.seeds,
            num_processes=args.jobs,
            store=args.store,
            resume=args.resume,
            progress=args.progress,
        )
    except (ValueError, TypeError, OSError) as error:
        raise BadInput(str(error)) from error
    if not comparison.runs and not comparison.is_complete:
        say("interrupted before the first run ended; no report is written")
        return INTERRUPTED
    path = comparison.to_html(args.out, progress=args.progress)
    failed = comparison.table[comparison.table["failure"] != ""]
    for (target, kernel), failure in failed["failure"].items():
        say(f"{kernel} on {target}: {failure}")
    print(f"The report is at {path}")
    return 0 if comparison.is_complete else INTERRUPTED
