"""Kernels compared on targets: the same chains, budget and keys for each, cost counted alike."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from numpyro_score.checks import check_kernel_factory, check_whole
from numpyro_score.comparison.external.protocol import ExternalSampler
from numpyro_score.comparison.identity import check_kernels, record
from numpyro_score.comparison.jobs import Comparable, Outcome, RunJob, key_data
from numpyro_score.comparison.lookup import find_target
from numpyro_score.comparison.measures import CURVE_COLUMNS
from numpyro_score.comparison.processes import check_picklable, run_jobs
from numpyro_score.comparison.result import Comparison, Settings
from numpyro_score.comparison.seeds import join
from numpyro_score.comparison.store import claim, run_path, save
from numpyro_score.comparison.table import make_table
from numpyro_score.diagnostics.assessment import Assessment
from numpyro_score.diagnostics.errors import ERROR_COLUMNS
from numpyro_score.progress import TaskProgress, can_draw_bars
from numpyro_score.run.budget import Budget, check_affordable, check_budget
from numpyro_score.targets import Target
from numpyro_score.types import RngKey

NUM_SAMPLES = 1000
"""Draws of each chain where neither they nor a budget is given."""


def _find_targets(targets: Sequence[str | Target]) -> list[Target]:
    if isinstance(targets, str | Target):
        raise TypeError(f"targets must be a list, got one {type(targets).__name__}; put it in [ ]")
    found = [find_target(target) for target in targets]
    names = [target.name for target in found]
    if not names:
        raise ValueError("there are no targets to compare on; give at least one")
    if len(set(names)) < len(names):
        raise ValueError(f"two targets share a name ({', '.join(names)}); give each its own")
    return found


def _check_kernels(kernels: Mapping[str, Comparable]) -> None:
    if not isinstance(kernels, Mapping):
        raise TypeError(
            f"kernels must be a dict from a name to a function of the model, got "
            f"{type(kernels).__name__}; for example {{'nuts': numpyro.infer.NUTS}}"
        )
    if not kernels:
        raise ValueError("there are no kernels to compare; give at least one")
    for name, factory in kernels.items():
        if not isinstance(factory, ExternalSampler):
            check_kernel_factory(f"kernel {name!r}", factory, "target")


def _settings(
    num_warmup: int,
    num_samples: int | None,
    num_chains: int,
    num_seeds: int,
    budget: Budget | None,
) -> Settings:
    check_whole("num_chains", num_chains)
    check_whole("num_warmup", num_warmup, 0)
    if budget is None:
        num_samples = NUM_SAMPLES if num_samples is None else num_samples
    if num_samples is not None:
        check_whole("num_samples", num_samples)
    if budget is not None:
        check_budget(budget)
        check_affordable(budget, num_warmup, num_chains)
    return Settings(num_warmup, num_samples, num_chains, num_seeds, budget)


def _counted(things: Collection[object], name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _outcome(row: Mapping[str, Any]) -> str:
    if row["failure"]:
        return f"failed, {row['failure'].splitlines()[0]}"
    return f"R-hat {row['rhat']:.3f}, min bulk ESS {row['ess_bulk']:.0f}"


def compare(
    kernels: Mapping[str, Comparable],
    targets: Sequence[str | Target],
    rng_key: RngKey,
    *,
    num_warmup: int = 500,
    num_samples: int | None = None,
    num_chains: int = 16,
    budget: Budget | None = None,
    num_seeds: int = 1,
    store: str | Path | None = None,
    resume: bool = False,
    num_processes: int = 1,
    with_pictures: bool = False,
    progress: bool = True,
) -> Comparison:
    """Run every kernel on every target, and measure errors, effective sample sizes and costs.

    Every kernel has the same number of chains and warmup steps, the same number of draws or the
    same budget, and the same key. A target's key does not depend on the other targets, and the
    draws do not depend on the number of processes. A run that raises an error becomes a row with
    its text, and the others continue. An interrupt (Ctrl-C) ends the comparison with the runs made
    so far.

    Parameters
    ----------
    kernels
        Name -> function from a NumPyro model to a kernel: a class such as `numpyro.infer.NUTS` or
        `numpyro_score.infer.MALA`, or a function that sets its options. Or a third-party
        algorithm with its own adaptation, such as
        `numpyro_score.comparison.external.blackjax_nuts`.
    targets
        `Target`s, names of the entry-point group `numpyro_score.targets`, or `module:name` of a
        user's own.
    rng_key
        One key.
    num_warmup, num_samples
        Steps a chain; 1,000 draws by default. With a budget, `num_samples` is a limit, and None is
        no limit.
    num_chains
        Chains; R-hat needs at least 2.
    budget
        What each run may cost in all, exploring, training, warmup and draws of all chains together:
        `Evaluations(200_000)` of the log density, where a gradient counts as two, or `Seconds(10)`.
        Each run ends when it has reached it. A run whose warmup alone costs more is a failed row.
        More than 5,000 draws per chain are thinned before they are measured.
    num_seeds
        Runs of each kernel on each target, with keys of their own; from 2 on, effective draws per
        gradient and per second have intervals. Draws are kept of the run with the smallest
        effective sample size.
    store
        Folder (`cmp.zarr`) to which runs are written as they proceed, and tables at the end;
        `load_comparison` reads it.
    resume
        Whether to continue the comparison in the store. Complete runs are not made again; an
        incomplete one is continued, or with a budget of `Seconds` made anew.
    num_processes
        Runs that are made at once, each in its own process if there is more than one. Kernels and
        targets then have to pickle, and a script needs `if __name__ == "__main__":`.
    with_pictures
        Whether each run's pictures are drawn with the run, in its process; otherwise, and with
        several seeds, `to_html` draws them one after the other.
    progress
        Whether to show progress on stderr.

    Returns
    -------
    A `Comparison`: its `table`, its `runs`, and with `to_html(path)` its report.

    Raises
    ------
    ValueError
        If there are no kernels or targets, or a target is unknown or its name used twice, a number
        is not positive, the budget does not pay for a warmup, or the store holds another
        comparison, one of other data under the same name for instance, or of a kernel with other
        settings.
    TypeError
        If a kernel is not a function of a model, or does not pickle, or the budget has no unit.
    FileExistsError, OSError
        If the store is there already, or cannot be written.

    Examples
    --------
    >>> import jax
    >>> from numpyro_score.infer import MALA
    >>> from numpyro_score.targets import std_gaussian
    >>> cmp = compare(
    ...     {"mala": MALA},
    ...     [std_gaussian(2)],
    ...     jax.random.key(0),
    ...     num_warmup=100,
    ...     num_samples=200,
    ...     num_chains=4,
    ...     progress=False,
    ... )
    >>> int(cmp.table.num_grad["std_gaussian", "mala"])  # 4 chains, 100 + 200 steps
    1200
    """
    _check_kernels(kernels)
    check_whole("num_seeds", num_seeds)
    check_whole("num_processes", num_processes)
    if resume and store is None:
        raise ValueError("resume=True needs store=, the folder of the comparison to go on with")
    found = _find_targets(targets)
    settings = _settings(num_warmup, num_samples, num_chains, num_seeds, budget)
    data = key_data(rng_key)
    path = None
    if store is not None:
        path = claim(store, record(settings, data, found, kernels), resume=resume)
    jobs = [
        RunJob(
            target,
            name,
            seed,
            factory,
            data,
            settings,
            None if path is None else run_path(path, target.name, name, seed),
            # of several seeds it is not known yet which is kept
            with_pictures and num_seeds == 1,
        )
        for target in found
        for name, factory in kernels.items()
        for seed in range(num_seeds)
    ]
    if num_processes > 1:
        check_picklable(jobs)
    check_kernels(jobs)
    done: dict[tuple[str, str, int], Outcome] = {}
    title = f"comparing {_counted(kernels, 'kernel')} on {_counted(found, 'target')}"
    with TaskProgress(title, len(jobs), is_shown=progress, unit="run") as bar:
        shows = progress and can_draw_bars()
        for job, outcome in run_jobs(jobs, num_processes, bar.start, progress=shows):
            done[*job.place, job.seed] = outcome
            _keep_one(done, job, num_seeds)
            bar.done(_outcome(outcome.row), outcome.seconds)
    comparison = _gathered(jobs, done, settings)
    if path is not None:
        names = {
            job.place: job.store.name
            for job in jobs
            if job.store is not None and comparison.seeds.get(job.place) == job.seed
        }
        save(comparison, path, names)
    return comparison


def _keep_one(done: dict[tuple[str, str, int], Outcome], last: RunJob, num_seeds: int) -> None:
    """Of the seeds so far, keep in memory the draws with the smallest effective sample size."""
    mine = [(*last.place, seed) for seed in range(num_seeds)]
    here = [place for place in mine if place in done and done[place].dt is not None]
    if here:
        least = min(here, key=lambda place: (done[place].trust, place[2]))
        for place in here:
            if place != least:
                done[place] = done[place]._replace(dt=None)


def _gathered(
    jobs: Sequence[RunJob], done: Mapping[tuple[str, str, int], Outcome], settings: Settings
) -> Comparison:
    """The results of all runs, in the order in which they were asked for."""
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    runs: dict[tuple[str, str], xr.DataTree] = {}
    assessments: dict[tuple[str, str], Assessment] = {}
    seeds: dict[tuple[str, str], int] = {}
    views: dict[tuple[str, str], Any] = {}
    errors: list[pd.DataFrame] = []
    curves: list[pd.DataFrame] = []
    left_out = Outcome(None, None, {"failure": "not run: the comparison was interrupted"}, True)
    outcomes = [(job, done.get((*job.place, job.seed), left_out)) for job in jobs]
    for job, outcome in outcomes:
        rows.setdefault(job.place, []).append(outcome.row)
        if outcome.measured is None:
            continue
        if outcome.dt is not None:
            runs[job.place] = outcome.dt
            seeds[job.place] = job.seed
            assessments[job.place] = outcome.measured.assessment
            if outcome.view is not None:
                views[job.place] = outcome.view
        for table, tables in ((outcome.measured.errors, errors), (outcome.measured.curve, curves)):
            about = {"target": job.target.name, "kernel": job.kernel, "seed": job.seed}
            own = table.copy()
            for place, (name, value) in enumerate(about.items()):
                own.insert(place, name, value)
            tables.append(own)
    return Comparison(
        table=make_table({place: join(parts) for place, parts in rows.items()}),
        errors=_join(errors, ERROR_COLUMNS),
        curves=_join(curves, CURVE_COLUMNS),
        runs=runs,
        verdicts={place: found.verdict for place, found in assessments.items()},
        descriptions={job.target.name: job.target.description for job in jobs},
        settings=settings,
        is_complete=not any(outcome.was_interrupted for _, outcome in outcomes),
        assessments=assessments,
        seeds=seeds,
        views=views,
    )


def _join(tables: list[pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    tables = [table for table in tables if len(table)]
    if not tables:
        return pd.DataFrame(columns=["target", "kernel", "seed", *names])
    return pd.concat(tables, ignore_index=True)
