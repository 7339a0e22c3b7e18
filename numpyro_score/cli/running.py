"""`numpyro-score run`: sample a model of the user's own and keep the draws."""

import argparse
import inspect
import shlex
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from numpyro_score import plugins
from numpyro_score.cli.common import (
    INTERRUPTED,
    BadInput,
    checking,
    say,
    use_cache,
)
from numpyro_score.cli.distributed import is_first, join_processes
from numpyro_score.comparison import find_kernel
from numpyro_score.diagnostics import ConvergenceWarning, convergence, judge
from numpyro_score.diagnostics.files import write_draws
from numpyro_score.diagnostics.verdict_findings import WORDINGS, verdict_findings
from numpyro_score.diagnostics.wording import remarks
from numpyro_score.formats import ZARR
from numpyro_score.run import sample


def do(args: argparse.Namespace) -> int:
    """Sample, and write the draws."""
    is_streamed = args.out.suffix == ZARR
    use_cache(args.cache)
    join_processes(args)
    with checking():
        make_kernel = find_kernel(args.kernel)
        data = {} if args.data is None else _load_data(args.data)
        model = plugins.load_model(args.model)
    _check_arguments(model, data, args.model)
    try:
        with warnings.catch_warnings():
            # all findings are printed below
            warnings.simplefilter("ignore", ConvergenceWarning)
            dt = sample(
                make_kernel(model),
                jax.random.key(args.seed),
                num_warmup=args.warmup,
                num_samples=args.samples,
                num_chains=args.chains,
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
    except (ValueError, OSError) as error:
        raise BadInput(str(error)) from error
    except Exception as error:
        raise BadInput(_in_a_line(error)) from error
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


def _in_a_line(error: Exception) -> str:
    """What was raised, and in which line of which file."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename}, line {frame.lineno}"
    return f"sampling failed with {type(error).__name__}: {error} ({where})"


def _load_data(path: Path) -> dict[str, Any]:
    """Arrays of an npz file by name; an array of no dimension becomes a plain number."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = "it holds pickled objects" if "allow_pickle" in str(error) else str(error)
        raise BadInput(
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
        raise BadInput(
            f"{spec} cannot be called with the data ({error}): it takes ({wants}), and the data "
            f"file has {has}"
        ) from error
