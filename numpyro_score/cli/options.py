"""What can be typed, and what is wrong with it as far as names and files show it.

Nothing is imported here that takes time: help and errors are printed at once, and the module that
runs a command is loaded by its name.
"""

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpyro_score import plugins
from numpyro_score.cli.common import (
    BadInput,
    add_budget,
    add_cache,
    add_command,
    add_free_lengths,
    add_lengths,
    add_output,
    between_0_and_1,
    check_files,
    check_nothing,
    check_output,
    check_suffix,
    whole,
)
from numpyro_score.cli.score_options import fit, generate
from numpyro_score.formats import ZARR


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands.

    What it returns has `run_by`, the module whose function `do` runs the command, and `check`,
    which raises where names or files are wrong.
    """
    parser = argparse.ArgumentParser(
        prog="numpyro-score",
        description="Run, compare and diagnose Markov kernels.",
        # `--sample` would be `--samples`
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("numpyro-score"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for declare in (_list, _compare, _run, _diagnose, _calibrate, fit, generate):
        declare(commands)
    return parser


def _list(commands: Any) -> None:
    text = "List the installed kernels and targets."
    add_command(commands, "list", "listing", check_nothing, text)


def _compare(commands: Any) -> None:
    text = "Compare kernels on targets and write a report."
    added = add_command(commands, "compare", "comparing", _check_compare, text)
    for name in ("target", "kernel"):
        added.add_argument(
            f"--{name}",
            action="append",
            required=True,
            metavar="NAME",
            help=f"as `list` names it, or FILE.py:{name.upper()} of your own; may be given again",
        )
    add_lengths(added, samples=None)
    add_budget(added)
    added.add_argument(
        "--seeds",
        type=whole(1),
        default=1,
        help="runs of each kernel on each target, for intervals (default 1)",
    )
    added.add_argument(
        "--jobs", type=whole(1), default=1, help="runs at once, in processes (default 1)"
    )
    added.add_argument(
        "--store", type=Path, metavar="FOLDER", help="keep runs and tables there (a .zarr folder)"
    )
    added.add_argument("--resume", action="store_true", help="continue the comparison in --store")
    add_cache(added)
    add_output(added, "report.html")


def _check_compare(args: argparse.Namespace) -> None:
    for name in args.kernel:
        _check_name(plugins.KERNELS, "model", name)
    for name in args.target:
        _check_name(plugins.TARGETS, "target", name)
    check_output(args.out)


def _run(commands: Any) -> None:
    text = "Sample a NumPyro model of your own and keep the draws."
    added = add_command(commands, "run", "running", _check_run, text)
    added.add_argument("model", metavar="FILE.py:MODEL", help="the model, a function in a file")
    added.add_argument(
        "--data", type=Path, metavar="NPZ", help="arrays that the model takes as keyword arguments"
    )
    _add_kernel(added, otherwise="the recommended one")
    add_free_lengths(added)
    ends = added.add_mutually_exclusive_group()
    ends.add_argument(
        "--until",
        type=whole(1),
        metavar="N",
        help="end at an effective sample size of N of every parameter",
    )
    add_budget(ends)
    added.add_argument(
        "--thinning",
        type=whole(1),
        default=1,
        metavar="N",
        help="keep every N-th draw (default %(default)s)",
    )
    added.add_argument(
        "--superchains",
        type=whole(2),
        metavar="N",
        help="groups of chains, each with a common starting point",
    )
    added.add_argument(
        "--chain-batch-size",
        type=whole(1),
        metavar="N",
        help="chains that are computed at once, to bound memory",
    )
    added.add_argument(
        "--resume", action="store_true", help="continue the run in --out, a .zarr folder"
    )
    added.add_argument("--overwrite", action="store_true", help="replace the file --out")
    _add_processes(added)
    add_cache(added)
    add_output(added, "draws.nc")


def _add_kernel(parser: argparse.ArgumentParser, otherwise: str | None = None) -> None:
    """The kernel, where there is one; `otherwise` says what runs where it may be left out."""
    text = "as `list` names it, or FILE.py:NAME of your own"
    if otherwise is not None:
        text += f" (default {otherwise})"
    parser.add_argument("--kernel", required=otherwise is None, metavar="NAME", help=text)


def _add_processes(parser: argparse.ArgumentParser) -> None:
    """Options of a run that is spread over processes."""
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="one of several processes of a cluster that JAX knows (SLURM and the like)",
    )
    parser.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where the first process listens"
    )
    parser.add_argument("--num-processes", type=whole(1), metavar="N", help="processes in all")
    parser.add_argument(
        "--process-id", type=whole(0), metavar="I", help="which one this is, from 0"
    )


def _check_run(args: argparse.Namespace) -> None:
    check_suffix(args.out)
    if args.resume and args.out.suffix != ZARR:
        raise BadInput(f"--resume goes on with a {ZARR} folder, but --out is {args.out}")
    places = (args.coordinator, args.num_processes, args.process_id)
    if not args.distributed and any(place is not None for place in places):
        raise BadInput("--coordinator, --num-processes and --process-id need --distributed")
    if len({place is None for place in places}) > 1:
        raise BadInput(
            "give all of --coordinator, --num-processes and --process-id, or none of them where "
            "the cluster tells"
        )
    check_output(args.out)
    # a folder is refused by `sample`, and may be resumed
    if args.out.suffix != ZARR and args.out.exists() and not args.overwrite:
        raise BadInput(f"{args.out} exists; give another --out, or --overwrite to replace it")
    if args.kernel is not None:
        _check_name(plugins.KERNELS, "model", args.kernel)
    if args.data is not None and not args.data.is_file():
        raise BadInput(f"there is no data file {args.data}")
    plugins.split(args.model, "model")


def _diagnose(commands: Any) -> None:
    text = "Write a report about the draws in a file."
    added = add_command(commands, "diagnose", "diagnosing", _check_diagnose, text)
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


def _check_diagnose(args: argparse.Namespace) -> None:
    check_output(args.out)
    check_files([args.draws, *([args.reference] if args.reference else [])])
    if args.target is not None:
        _check_name(plugins.TARGETS, "target", args.target)


def _calibrate(commands: Any) -> None:
    text = "Simulation-based calibration of a kernel on a NumPyro model of your own."
    added = add_command(commands, "calibrate", "calibrating", _check_calibrate, text)
    added.add_argument("model", metavar="FILE.py:MODEL", help="the model, a function in a file")
    added.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="NPZ",
        help="arrays that the model takes as keyword arguments, as for run; observed values are "
        "replaced by simulated ones",
    )
    _add_kernel(added)
    added.add_argument(
        "--posterior",
        action="store_true",
        help="draw parameters from the posterior of the data instead of the prior",
    )
    added.add_argument(
        "--simulations", type=whole(10), default=200, help="data sets (default %(default)s)"
    )
    add_lengths(added, chains=4, warmup=300, samples=300)
    added.add_argument(
        "--alpha",
        type=between_0_and_1,
        default=0.05,
        help="false-alarm rate of the verdict (default %(default)s)",
    )
    added.add_argument(
        "--store", type=Path, metavar="FOLDER", help="keep refits there, and resume from there"
    )
    add_cache(added)
    add_output(added, "calibration.html")


def _check_calibrate(args: argparse.Namespace) -> None:
    check_output(args.out)
    _check_name(plugins.KERNELS, "model", args.kernel)
    if not args.data.is_file():
        raise BadInput(f"there is no data file {args.data}")
    plugins.split(args.model, "model")


def _check_name(group: str, what: str, name: str) -> None:
    """A name that is registered, or a file that is there."""
    if ":" in name:
        plugins.split(name, what)
    else:
        plugins.find(group, name)
