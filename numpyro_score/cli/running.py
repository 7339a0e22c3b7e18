"""`numpyro-score run`: sample a model of the user's own and keep the draws."""

import argparse
import shlex
import tempfile
import traceback
import warnings
from pathlib import Path

import jax
import xarray as xr

from numpyro_score import plugins
from numpyro_score.cli.common import (
    INTERRUPTED,
    BadInput,
    checking,
    lengths_of,
    limit_of,
    say,
    use_cache,
)
from numpyro_score.cli.distributed import is_first, join_processes
from numpyro_score.cli.inputs import check_arguments, load_data
from numpyro_score.comparison import find_kernel
from numpyro_score.diagnostics import ConvergenceWarning, convergence, judge
from numpyro_score.diagnostics.files import write_draws
from numpyro_score.diagnostics.verdict_findings import WORDINGS, verdict_findings
from numpyro_score.diagnostics.wording import remarks
from numpyro_score.formats import ZARR
from numpyro_score.run import sample
from numpyro_score.run.within import BudgetExceededError


def do(args: argparse.Namespace) -> int:
    """Sample, and write the draws."""
    is_streamed = args.out.suffix == ZARR
    use_cache(args.cache)
    join_processes(args)
    with checking():
        make_kernel = None if args.kernel is None else find_kernel(args.kernel)
        data = {} if args.data is None else load_data(args.data)
        model = plugins.load_model(args.model)
    check_arguments(model, data, args.model)
    try:
        with warnings.catch_warnings():
            # all findings are printed below
            warnings.simplefilter("ignore", ConvergenceWarning)
            dt = sample(
                model if make_kernel is None else make_kernel(model),
                jax.random.key(args.seed),
                **lengths_of(args),
                until=args.until if args.budget is None else limit_of(args.budget),
                model_kwargs=data,
                thinning=args.thinning,
                num_superchains=args.superchains,
                store=args.out if is_streamed else None,
                resume=args.resume,
                chain_batch_size=args.chain_batch_size,
                progress=args.progress,
            )
    except KeyboardInterrupt:
        say("interrupted before the first draw; nothing is written")
        return INTERRUPTED
    except (ValueError, OSError, BudgetExceededError) as error:
        raise BadInput(f"{error}{_in_file(error, args.model)}") from error
    except Exception as error:
        raise BadInput(_in_a_line(error, args.model)) from error
    if not is_first():
        return 0
    # before they are looked at, which may fail
    path = args.out if is_streamed else _write(dt, args.out)
    if "posterior" in dt.children:
        verdict = judge(dt, table := convergence(dt))
        for remark in remarks(verdict_findings(verdict, table), WORDINGS):
            say(f"{remark.finding} {remark.advice}".strip())
    else:
        say("Interrupted in warmup: there are no draws, only the steps of the warmup so far.")
    print(f"The draws are at {path}")
    print(f"To look at them: numpyro-score diagnose {shlex.quote(str(args.out))}")
    return 0 if dt.attrs.get("complete", 1) else INTERRUPTED


def _write(dt: xr.DataTree, path: Path) -> Path:
    """Write the draws; elsewhere, and then as another format, if that fails."""
    try:
        return write_draws(dt, path)
    except Exception as error:
        # hours of sampling are not to be lost to a full disk, or to a type that a format lacks
        folder = Path(tempfile.mkdtemp(prefix="numpyro-score-"))
        say(f"{path} could not be written ({error}); writing elsewhere")
    try:
        return write_draws(dt, folder / path.name)
    except Exception as error:
        say(f"that failed too ({error}); writing a {ZARR} folder")
    return write_draws(dt, folder / f"{path.stem}{ZARR}")


def _in_file(error: Exception, spec: str) -> str:
    """In which line of the model's own file something was raised; nothing if it was not there.

    Parameters
    ----------
    error
        What was raised.
    spec
        `FILE.py:MODEL`.
    """
    place = spec.rpartition(":")[0]
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).absolute() == Path(place).absolute()
    ]
    return f" ({place}, line {lines[-1]})" if lines else ""


def _in_a_line(error: Exception, spec: str) -> str:
    """What was raised, and in which line of which file: the model's own, if it went through it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = _in_file(error, spec) or f" ({frame.filename}, line {frame.lineno})"
    return f"sampling failed with {type(error).__name__}: {error}{where}"
