"""One run of a comparison: a job.

A job depends on its own fields alone: a target's key does not depend on the other targets, and no
job reads the results of another. So the draws are the same on any number of processes.
"""

import math
import shutil
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import xarray as xr
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.comparison.external.protocol import ExternalSampler
from numpyro_score.comparison.external.run import run_external
from numpyro_score.comparison.measures import Measured, measure
from numpyro_score.comparison.result import Settings
from numpyro_score.comparison.thin import thinned
from numpyro_score.diagnostics import ConvergenceWarning
from numpyro_score.run import Seconds, sample
from numpyro_score.run.zarr_group import complete_attributes
from numpyro_score.targets import Target
from numpyro_score.types import RngKey

type KernelFactory = Callable[[Any], MCMCKernel]
"""NumPyro model -> kernel: a kernel's class, or a function that sets its options."""

type Comparable = KernelFactory | ExternalSampler
"""What can be compared: kernels, and whole third-party algorithms."""


class RunJob(NamedTuple):
    """One run.

    Attributes
    ----------
    target, kernel, seed
        What is run, the kernel by its name.
    factory
        Makes the kernel.
    key_data
        Of the comparison's key, with the name of its implementation.
    settings
        Lengths.
    store
        Where the run is kept, or None.
    is_pictured
        Whether the pictures of its report are drawn with it.
    """

    target: Target
    kernel: str
    seed: int
    factory: Comparable
    key_data: tuple[Any, str]
    settings: Settings
    store: Path | None
    is_pictured: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """Target and kernel, by name."""
        return self.target.name, self.kernel

    @property
    def name(self) -> str:
        """The job in a line."""
        seed = f", seed {self.seed}" if self.settings.num_seeds > 1 else ""
        return f"{self.kernel} on {self.target.name}{seed}"


class Outcome(NamedTuple):
    """The result of a job.

    Attributes
    ----------
    dt
        Its draws; None if it failed.
    measured
        What was measured of them; None if it failed.
    row
        Of the table.
    was_interrupted
        Whether it ended early because the user asked for it.
    seconds
        What it took, with everything; NaN if its process died.
    view
        What a page says about it, as `page.run_view` returns it, if it was to be pictured.
    """

    dt: xr.DataTree | None
    measured: Measured | None
    row: Mapping[str, Any]
    was_interrupted: bool = False
    seconds: float = math.nan
    view: Any = None

    @property
    def trust(self) -> float:
        """Smallest bulk effective sample size; 0 where it is not known."""
        ess = float(self.row.get("ess_bulk", math.nan))
        return 0.0 if math.isnan(ess) else ess


def key_data(rng_key: RngKey) -> tuple[Any, str]:
    """A key as something that pickles."""
    return jax.device_get(jax.random.key_data(rng_key)), str(jax.random.key_impl(rng_key))


def _key(job: RunJob) -> RngKey:
    """By name, so that a run depends neither on the order of targets nor on other seeds."""
    data, impl = job.key_data
    name = job.target.name if job.seed == 0 else f"{job.target.name}#{job.seed}"
    key = jax.random.wrap_key_data(data, impl=impl)
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def failure(error: BaseException) -> str:
    """An exception in words; one without a message is named by the function that raised it.

    Parameters
    ----------
    error
        As it was caught.

    Examples
    --------
    >>> failure(ValueError("no such luck"))
    'ValueError: no such luck'
    """
    if str(error):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {frames[-1].name}" if frames else type(error).__name__


def _finished(store: Path | None) -> xr.DataTree | None:
    """The run in a store, if it came to its end."""
    if store is None or complete_attributes(store) is None:
        return None
    return xr.open_datatree(store, engine="zarr")


def run_job(job: RunJob, *, progress: bool = False) -> Outcome:
    """Run a job, or read it from its store if it is complete; an error becomes a row with its text.

    Parameters
    ----------
    job
        What to run.
    progress
        Whether to show a bar.
    """
    begin = time.perf_counter()
    outcome = _run(job, progress)
    return outcome._replace(seconds=time.perf_counter() - begin)


def _run(job: RunJob, progress: bool) -> Outcome:
    kernel = None
    is_complete = True
    settings = job.settings
    try:
        dt = _finished(job.store)
        # seconds that were spent before are not known
        begins_anew = isinstance(settings.budget, Seconds)
        if dt is None and job.store is not None and begins_anew:
            shutil.rmtree(job.store, ignore_errors=True)
        if dt is not None:
            pass
        elif isinstance(job.factory, ExternalSampler):
            dt = run_external(job.factory, job.kernel, job.target, _key(job), settings, job.store)
        else:
            kernel = job.factory(job.target.model)
            with warnings.catch_warnings():
                # the comparison says it of every run
                warnings.simplefilter("ignore", ConvergenceWarning)
                dt = sample(
                    kernel,
                    _key(job),
                    num_warmup=settings.num_warmup,
                    num_samples=settings.num_samples,
                    num_chains=settings.num_chains,
                    until=settings.budget,
                    model_args=job.target.model_args,
                    model_kwargs=job.target.model_kwargs,
                    store=job.store,
                    resume=job.store is not None and not begins_anew,
                    progress=progress,
                )
        is_complete = bool(dt.attrs["complete"])
        # reading a scalar at a time from a disk is slow
        dt = thinned(dt if job.store is None else dt.load())
        measured = measure(dt, job.target)
        view = _view(job, dt, measured)
    except KeyboardInterrupt:
        return Outcome(None, None, {"failure": "interrupted before its end"}, True)
    except Exception as error:
        why = failure(error) if is_complete else "interrupted before its first draw"
        row = {"exact": getattr(kernel, "exact", None), "failure": why}
        return Outcome(None, None, row, not is_complete)
    kept = dt if job.store is None else thinned(xr.open_datatree(job.store, engine="zarr"))
    return Outcome(kept, measured, measured.row, not is_complete, view=view)


def _view(job: RunJob, dt: xr.DataTree, measured: Measured) -> Any:
    if not job.is_pictured:
        return None
    # loads matplotlib
    from numpyro_score.comparison.page import run_view

    return run_view(dt, measured.assessment, job.kernel)
