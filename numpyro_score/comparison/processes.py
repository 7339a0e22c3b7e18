"""The runs of a comparison, in this process or in several.

Processes are spawned, not forked: JAX has threads, which do not survive a fork.
"""

import pickle
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import jax
import xarray as xr

from numpyro_score.comparison.jobs import Outcome, RunJob, failure, run_job
from numpyro_score.comparison.thin import thinned
from numpyro_score.targets import Target

OPTIONS = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_default_matmul_precision",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
"""Settings of JAX that a spawned process is given."""

_targets: dict[str, Target] = {}
"""Of a spawned process, which lives for one comparison: the targets of its jobs, by name."""


def _start(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        jax.config.update(name, value)
    # the parent handles interrupts
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_job_elsewhere(job: RunJob) -> Outcome:
    # one object for all kernels, so that what was compiled for a target is found again
    target = _targets.setdefault(job.target.name, job.target)
    outcome = run_job(job._replace(target=target))
    # the parent opens stored draws itself
    return outcome if job.store is None else outcome._replace(dt=None)


def check_picklable(jobs: Sequence[RunJob]) -> None:
    """Refuse kernels and targets that do not pickle, before anything is run.

    Parameters
    ----------
    jobs
        All of them.

    Raises
    ------
    TypeError
        If a kernel's function or a target does not pickle; the message names it.
    """
    for job in jobs:
        for what, thing in (("kernel", job.factory), ("target", job.target)):
            name = job.kernel if what == "kernel" else job.target.name
            try:
                pickle.dumps(thing)
            except Exception as error:
                raise TypeError(
                    f"{what} {name!r} cannot be sent to another process ({error}); define it by "
                    "name at the top of a module (no lambda, nothing inside of a function), or "
                    "give num_processes=1"
                ) from error


def run_jobs(
    jobs: Sequence[RunJob], num_processes: int, start: Callable[[str], None], *, progress: bool
) -> Iterator[tuple[RunJob, Outcome]]:
    """Run jobs and yield each as it ends; after an interrupt, unfinished ones are left out.

    Parameters
    ----------
    jobs
        What to run.
    num_processes
        How many at once; one is this process.
    start
        Called with the name of a job that begins here, or of all that begin elsewhere.
    progress
        Whether a job of this process shows a bar.
    """
    if num_processes == 1:
        for job in jobs:
            start(job.name)
            outcome = run_job(job, progress=progress)
            yield job, outcome
            if outcome.was_interrupted:
                return
        return
    options = {name: getattr(jax.config, name) for name in OPTIONS}
    pool = ProcessPoolExecutor(
        min(num_processes, len(jobs)), get_context("spawn"), _start, (options,)
    )
    try:
        futures = {pool.submit(_run_job_elsewhere, job): job for job in jobs}
        start(f"{len(futures)} runs on {num_processes} processes")
        for future in as_completed(futures):
            job = futures[future]
            try:
                outcome = future.result()
            except Exception as error:
                row = {"failure": f"its process died: {failure(error)}"}
                outcome = Outcome(None, None, row)
            if job.store is not None and outcome.measured is not None:
                outcome = outcome._replace(dt=thinned(xr.open_datatree(job.store, engine="zarr")))
            start(job.name)
            yield job, outcome
    except KeyboardInterrupt:
        for process in (pool._processes or {}).values():
            process.terminate()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
