"""The command `numpyro-score`: list, compare, run, diagnose.

Names of kernels and targets exist here and in the entry points only. What is wrong with what was
typed is found out before sampling, said in a line, and ends with status 2.
"""

import argparse
import inspect
import shlex
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from numpyro_score import plugins
from numpyro_score.diagnostics import convergence, find_target, judge
from numpyro_score.diagnostics.draws import posterior
from numpyro_score.diagnostics.files import SUFFIXES, read_draws, write_draws
from numpyro_score.report import compare, write_report
from numpyro_score.report.words import remarks
from numpyro_score.run import sample

BAD_INPUT = 2
INTERRUPTED = 130


class _BadInput(Exception):
    """What was typed cannot be done; the message says why, and what to do."""


@contextmanager
def _checking() -> Iterator[None]:
    """What is wrong here is wrong with what was typed."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise _BadInput(str(error)) from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _check_output(path: Path) -> None:
    """Find out now, not after hours of sampling, that the output cannot be written."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise _BadInput(f"the folder {folder} of --out does not exist; make it first")
    is_store = path.suffix == ".zarr" and any(
        (path / name).is_file() for name in (".zgroup", "zarr.json")
    )
    if path.is_dir() and not is_store:
        raise _BadInput(f"--out {path} is a folder; give the name of a file")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _BadInput(
            f"the folder {folder} of --out cannot be written to: {error.strerror}"
        ) from error


def _load_data(path: Path) -> dict[str, Any]:
    """Arrays of an npz file by name; an array of no dimension becomes a plain number."""
    if not path.is_file():
        raise _BadInput(f"there is no data file {path}")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = "it holds pickled objects" if "allow_pickle" in str(error) else str(error)
        raise _BadInput(
            f"{path} is not an npz file of plain arrays ({reason}); write it with "
            "numpy.savez(file, x=x, y=y), without object arrays"
        ) from error
    return {name: _usable(array) for name, array in arrays.items()}


def _usable(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return array.item()
    return jnp.asarray(array) if array.dtype.kind in "biufc" else array


def _check_arguments(model: Callable[..., Any], data: dict[str, Any], spec: str) -> None:
    try:
        inspect.signature(model).bind(**data)
    except TypeError as error:
        wants = ", ".join(map(str, inspect.signature(model).parameters.values()))
        has = ", ".join(data) or "nothing"
        raise _BadInput(
            f"{spec} cannot be called with the data ({error}): it takes ({wants}), and the data "
            f"file has {has}"
        ) from error


def _list(args: argparse.Namespace) -> int:
    del args
    for title, group in (("kernels", plugins.KERNELS), ("targets", plugins.TARGETS)):
        print(f"{title}:")
        for name in plugins.registered(group):
            try:
                doc = inspect.getdoc(plugins.load(group, name)) or ""
            except ImportError as error:
                doc = f"cannot be used: {error}"
            first = doc.split("\n\n")[0].split(". ")[0].replace("*", "").replace("`", "")
            print(f"  {name:24}{textwrap.shorten(first, 100, placeholder=' ...')}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    with _checking():
        kernels = {name: plugins.load(plugins.KERNELS, name) for name in args.kernel}
        targets = [find_target(name) for name in dict.fromkeys(args.target)]
    _check_output(args.out)
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
        _say("interrupted before the first run ended; no report is written")
        return INTERRUPTED
    path = comparison.to_html(args.out, progress=args.progress)
    failed = comparison.table[comparison.table["failure"] != ""]
    for (target, kernel), failure in failed["failure"].items():
        _say(f"{kernel} on {target}: {failure}")
    print(f"The report is at {path}")
    return 0 if comparison.is_complete else INTERRUPTED


def _run(args: argparse.Namespace) -> int:
    if args.out.suffix not in SUFFIXES:
        raise _BadInput(f"--out must end in {' or '.join(SUFFIXES)}, got {args.out}")
    _check_output(args.out)
    with _checking():
        make_kernel = plugins.load(plugins.KERNELS, args.kernel)
        data = {} if args.data is None else _load_data(args.data)
        model = plugins.load_model(args.model)
    _check_arguments(model, data, args.model)
    try:
        dt = sample(
            make_kernel(model),
            jax.random.key(args.seed),
            num_warmup=args.warmup,
            num_samples=args.samples,
            num_chains=args.chains,
            model_kwargs=data,
            progress=args.progress,
        )
    except KeyboardInterrupt:
        _say("interrupted before the first draw; nothing is written")
        return INTERRUPTED
    except ValueError as error:
        raise _BadInput(str(error)) from error
    if "posterior" in dt.children:
        verdict = judge(dt, table := convergence(dt))
        for remark in remarks(verdict, table):
            _say(f"{remark.finding} {remark.advice}".strip())
    else:
        _say("Interrupted in warmup: there are no draws, only the steps of the warmup so far.")
    print(f"The draws are at {_write(dt, args.out)}")
    print(f"To look at them: numpyro-score diagnose {shlex.quote(str(args.out))}")
    return 0 if dt.attrs.get("complete", 1) else INTERRUPTED


def _write(dt: xr.DataTree, path: Path) -> Path:
    try:
        return write_draws(dt, path)
    except OSError as error:
        # hours of sampling are not to be lost to a full disk
        elsewhere = Path(tempfile.mkdtemp(prefix="numpyro-score-")) / path.name
        _say(f"{path} could not be written ({error}); writing elsewhere")
        return write_draws(dt, elsewhere)


def _diagnose(args: argparse.Namespace) -> int:
    _check_output(args.out)
    with _checking():
        dt = read_draws(args.draws)
        posterior(dt)
    path = write_report(dt, args.out, title=args.draws.name, progress=args.progress)
    print(f"The report is at {path}")
    return 0


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="numpyro-score", description="Run, compare and diagnose Markov kernels."
    )
    parser.add_argument("--version", action="version", version=version("numpyro-score"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, do: Callable[[argparse.Namespace], int], text: str) -> Any:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(do=do)
        return added

    command("list", _list, "Name the kernels and targets that are installed.")
    compare_ = command("compare", _compare, "Compare kernels on targets and write a report.")
    compare_.add_argument(
        "--target", action="append", required=True, metavar="NAME", help="may be given repeatedly"
    )
    compare_.add_argument(
        "--kernel", action="append", required=True, metavar="NAME", help="may be given repeatedly"
    )
    run = command("run", _run, "Sample a NumPyro model of your own and keep the draws.")
    run.add_argument("model", metavar="FILE.py:MODEL")
    run.add_argument(
        "--data", type=Path, metavar="NPZ", help="arrays that the model takes as keyword arguments"
    )
    run.add_argument("--kernel", required=True, metavar="NAME")
    diagnose = command("diagnose", _diagnose, "Write a report about the draws in a file.")
    diagnose.add_argument("draws", type=Path, metavar="FILE", help="any that ArviZ wrote")
    for added in (compare_, run):
        added.add_argument("--chains", type=_whole(1), default=16, help="(default %(default)s)")
        added.add_argument("--warmup", type=_whole(0), default=500, help="(default %(default)s)")
        added.add_argument("--samples", type=_whole(1), default=1000, help="(default %(default)s)")
        added.add_argument("--seed", type=_whole(0), default=0, help="(default %(default)s)")
    for added, out in ((compare_, "report.html"), (run, "draws.nc"), (diagnose, "report.html")):
        added.add_argument("--out", type=Path, default=Path(out), help="(default %(default)s)")
        added.add_argument("--no-progress", dest="progress", action="store_false")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        What was typed after the command's name; by default that of this process.

    Returns
    -------
    0; 2 where what was typed cannot be done; 130 after an interrupt.

    Examples
    --------
    >>> main(["diagnose", "no_such_file.nc"])  # the reason goes to stderr
    2
    """
    args = _parser().parse_args(argv)
    try:
        return args.do(args)
    except _BadInput as error:
        _say(f"numpyro-score {args.command}: error: {error}")
        return BAD_INPUT
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
