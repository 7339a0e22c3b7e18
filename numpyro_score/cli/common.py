"""What the commands share: what is wrong with what was typed, where output goes, options."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpyro_score.formats import SUFFIXES

if TYPE_CHECKING:
    from numpyro_score.run import Evaluations, Seconds

ALL_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


class BadInput(Exception):
    """What was typed cannot be done; the message says why, and what to do."""


@contextmanager
def checking() -> Iterator[None]:
    """What is wrong here is wrong with what was typed."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise BadInput(str(error)) from error


def say(text: str) -> None:
    """A line for the user, beside the output."""
    print(text, file=sys.stderr, flush=True)


def check_output(path: Path) -> None:
    """Find out now, not after hours of sampling, that the output cannot be written."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise BadInput(f"the folder {folder} of --out does not exist; make it first")
    is_store = path.suffix == ".zarr" and any(
        (path / name).is_file() for name in (".zgroup", "zarr.json")
    )
    if path.is_dir() and not is_store:
        raise BadInput(f"--out {path} is a folder; give the name of a file")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadInput(
            f"the folder {folder} of --out cannot be written to: {error.strerror}"
        ) from error


def check_suffix(path: Path) -> None:
    """Find out that the name of the output does not say how it is to be written."""
    if path.suffix not in SUFFIXES:
        raise BadInput(f"--out must end in {' or '.join(SUFFIXES)}, got {path}")


def check_files(paths: Iterable[Path]) -> None:
    """Find out that draws are not there."""
    for path in paths:
        if not path.exists():
            raise BadInput(
                f"there is no file {path}; give one that ArviZ wrote ({' or '.join(SUFFIXES)})"
            )


MAX_SEED = 2**63 - 1
"""Largest seed of a JAX key."""


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Parser of whole numbers of at least `least`, and at most `most`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            limits = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limits}")
        return int(text)

    return parse


def between_0_and_1(text: str) -> float:
    """Parser of a probability that is neither 0 nor 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and below 1")
    return value


def budget(text: str) -> tuple[str, float]:
    """A number, and its unit: nothing for evaluations, s for seconds."""
    number = text.removesuffix("s")
    try:
        value = float(number.replace("_", ""))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a budget: give a number of evaluations (200000) or of seconds (10s)"
        )
    return text[len(number) :], value


def limit_of(given: tuple[str, float] | None) -> "Evaluations | Seconds | None":
    """What `budget` read, as `sample` and `compare` take it."""
    from numpyro_score.run import Evaluations, Seconds

    if given is None:
        return None
    unit, value = given
    return Seconds(value) if unit else Evaluations(value)


def add_budget(parser: Any) -> None:
    """Option of what ends by its cost."""
    parser.add_argument(
        "--budget",
        type=budget,
        metavar="N",
        help="total cost of a run: N evaluations of the log density, or seconds as 10s",
    )


Check = Callable[[argparse.Namespace], None]


def check_nothing(args: argparse.Namespace) -> None:
    """The check of a command whose words cannot be wrong."""
    del args


def add_command(
    commands: Any, name: str, run_by: str, check: Check, text: str
) -> argparse.ArgumentParser:
    """A command by its name, what runs it, what checks it, and a line of help."""
    added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    added.set_defaults(run_by=f"numpyro_score.cli.{run_by}", check=check)
    return added


LENGTHS = {"chains": 16, "warmup": 500, "samples": 1000}
"""Of a run with a kernel that was named, where they are left out."""

LENGTH_TEXTS = {
    "chains": "number of chains",
    "warmup": "warmup steps per chain",
    "samples": "draws per chain",
}


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Option of what is random."""
    text = "of all random numbers (default %(default)s)"
    parser.add_argument("--seed", type=whole(0, MAX_SEED), default=0, help=text)


def add_lengths(
    parser: argparse.ArgumentParser,
    *,
    chains: int = LENGTHS["chains"],
    warmup: int = LENGTHS["warmup"],
    samples: int | None = LENGTHS["samples"],
) -> None:
    """Options of what samples, with their defaults; `samples` is None where a budget may end it."""
    default = "1000, or what --budget pays for" if samples is None else "%(default)s"
    texts = {name: f"{text} (default %(default)s)" for name, text in LENGTH_TEXTS.items()}
    texts["samples"] = f"{LENGTH_TEXTS['samples']} (default {default})"
    parser.add_argument("--chains", type=whole(1), default=chains, help=texts["chains"])
    parser.add_argument("--warmup", type=whole(0), default=warmup, help=texts["warmup"])
    parser.add_argument("--samples", type=whole(1), default=samples, help=texts["samples"])
    add_seed(parser)


def add_free_lengths(parser: argparse.ArgumentParser) -> None:
    """Options of what samples with a named kernel, or with the recommended one."""
    meant = "default %s, or that of the recommended kernel"
    for name, least in (("chains", 1), ("warmup", 0)):
        text = f"{LENGTH_TEXTS[name]} ({meant % LENGTHS[name]})"
        parser.add_argument(f"--{name}", type=whole(least), help=text)
    text = f"default {LENGTHS['samples']}, or until R-hat and effective draws suffice"
    parser.add_argument("--samples", type=whole(1), help=f"{LENGTH_TEXTS['samples']} ({text})")
    add_seed(parser)


def lengths_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `add_free_lengths` read, as arguments of `sample`."""
    known = LENGTHS if args.kernel is not None else {}
    given = {name: getattr(args, name) for name in LENGTHS}
    lengths = {name: known.get(name) if value is None else value for name, value in given.items()}
    if args.samples is None and (args.until, args.budget) != (None, None):
        lengths["samples"] = None
    return {f"num_{name}": value for name, value in lengths.items()}


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Option of what compiles."""
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="keep compiled programs there for later runs",
    )


def use_cache(folder: Path | None) -> None:
    """Have JAX keep every program that it compiles in `folder`, and look for it there."""
    if folder is None:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def add_output(parser: argparse.ArgumentParser, default: str) -> None:
    """Options of what writes a file."""
    text = "file to write (default %(default)s)"
    parser.add_argument("--out", type=Path, default=Path(default), help=text)
    parser.add_argument(
        "--no-progress", dest="progress", action="store_false", help="show no progress bar"
    )
