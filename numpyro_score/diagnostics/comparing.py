"""Kernels compared on posteriors: the same chains, budget and keys for each, cost counted alike."""

import traceback
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import pandas as pd
import xarray as xr
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score import plugins
from numpyro_score.diagnostics.comparison import Comparison, Settings, make_row, make_table
from numpyro_score.diagnostics.cost import costs
from numpyro_score.diagnostics.errors import ERROR_COLUMNS, expectation_errors
from numpyro_score.diagnostics.progress import Progress, shows_bars
from numpyro_score.diagnostics.rhat_ess import convergence
from numpyro_score.diagnostics.verdict import Verdict, judge
from numpyro_score.run import sample
from numpyro_score.targets import Target
from numpyro_score.types import RngKey

type KernelFactory = Callable[[Any], MCMCKernel]
"""NumPyro model -> kernel: a kernel's class, or a function that sets its options."""


def find_target(target: str | Target) -> Target:
    """The target itself, or the one that is registered under its name.

    Parameters
    ----------
    target
        A `Target`, or a name of the entry-point group `numpyro_score.targets`.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those there are.
    TypeError
        If it is neither a name nor a `Target`.

    Examples
    --------
    >>> from numpyro_score.targets import two_modes
    >>> find_target(two_modes()).name
    'two_modes'
    """
    if isinstance(target, str):
        target = plugins.load(plugins.TARGETS, target)()
    if not isinstance(target, Target):
        raise TypeError(
            f"a target must be a name or a numpyro_score.targets.Target, got "
            f"{type(target).__name__}; a model and its data become one with ModelTarget"
        )
    return target


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


def _check_kernels(kernels: Mapping[str, KernelFactory]) -> None:
    if not isinstance(kernels, Mapping):
        raise TypeError(
            f"kernels must be a dict from a name to a function of the model, got "
            f"{type(kernels).__name__}; for example {{'nuts': numpyro.infer.NUTS}}"
        )
    if not kernels:
        raise ValueError("there are no kernels to compare; give at least one")
    for name, factory in kernels.items():
        if isinstance(factory, MCMCKernel) or not callable(factory):
            raise TypeError(
                f"kernel {name!r} must be a function from a model to a kernel, since each target "
                f"needs its own, got {type(factory).__name__}; give the class, or "
                "lambda model: MALA(model, dense_mass=True)"
            )


def _measure(dt: xr.DataTree, target: Target) -> tuple[dict[str, Any], Verdict, pd.DataFrame]:
    verdict = judge(dt, convergence(dt))
    errors = expectation_errors(dt, target.expectations)
    return make_row(dt, verdict, costs(dt), errors), verdict, errors


def _failure(error: BaseException) -> str:
    """The exception in words; one without a message is told apart by the function it comes from."""
    if str(error):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {frames[-1].name}" if frames else type(error).__name__


def _counted(things: Collection[object], name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _outcome(row: Mapping[str, Any]) -> str:
    if row["failure"]:
        return f"failed, {row['failure'].splitlines()[0]}"
    return f"R-hat {row['rhat']:.3f}, min bulk ESS {row['ess_bulk']:.0f}"


def compare(
    kernels: Mapping[str, KernelFactory],
    targets: Sequence[str | Target],
    rng_key: RngKey,
    *,
    num_warmup: int = 500,
    num_samples: int = 1000,
    num_chains: int = 16,
    progress: bool = True,
) -> Comparison:
    """Run every kernel on every target and measure what the draws are worth and what they cost.

    Every kernel has the same number of chains, of warmup steps and of draws, and the same key; a
    target's key does not depend on which other targets there are. A run that raises leaves a row
    that says why, and the rest goes on. An interrupt (Ctrl-C) ends the comparison with what there
    is by then.

    Parameters
    ----------
    kernels
        Name -> function from a NumPyro model to a kernel: a class such as `numpyro.infer.NUTS` or
        `numpyro_score.infer.MALA`, or a function that sets its options.
    targets
        `Target`s, or names of the entry-point group `numpyro_score.targets`.
    rng_key
        One key.
    num_warmup, num_samples
        Steps a chain.
    num_chains
        Chains; R-hat needs at least 2.
    progress
        Whether to show progress on stderr.

    Returns
    -------
    A `Comparison`: its `table`, its `runs`, and with `to_html(path)` its report.

    Raises
    ------
    ValueError
        If there are no kernels or targets, or a target is unknown or its name used twice.
    TypeError
        If a kernel is not a function of a model.

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
    found = _find_targets(targets)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    runs: dict[tuple[str, str], xr.DataTree] = {}
    verdicts: dict[tuple[str, str], Verdict] = {}
    errors: list[pd.DataFrame] = []
    is_complete = True
    title = f"comparing {_counted(kernels, 'kernel')} on {_counted(found, 'target')}"
    with Progress(title, len(kernels) * len(found), is_shown=progress) as bar:
        for target, (name, factory) in ((t, k) for t in found for k in kernels.items()):
            place = (target.name, name)
            if not is_complete:
                rows[place] = {"failure": "not run: the comparison was interrupted"}
                continue
            bar.start(f"{name} on {target.name}")
            kernel = None
            try:
                kernel = factory(target.model)
                dt = sample(
                    kernel,
                    # by name: a target's results do not depend on its place in the list
                    jax.random.fold_in(rng_key, zlib.crc32(target.name.encode())),
                    num_warmup=num_warmup,
                    num_samples=num_samples,
                    num_chains=num_chains,
                    model_args=target.model_args,
                    model_kwargs=target.model_kwargs,
                    progress=progress and shows_bars(),
                )
                is_complete = bool(dt.attrs["complete"])
                rows[place], verdicts[place], table = _measure(dt, target)
                runs[place] = dt
                table.insert(0, "target", target.name)
                table.insert(1, "kernel", name)
                errors.append(table)
            except KeyboardInterrupt:
                is_complete = False
                rows[place] = {"failure": "interrupted before its end"}
            except Exception as error:
                failure = _failure(error) if is_complete else "interrupted before its first draw"
                rows[place] = {"exact": getattr(kernel, "exact", None), "failure": failure}
            bar.done(_outcome(rows[place]))
    return Comparison(
        table=make_table(rows),
        errors=_join(errors),
        runs=runs,
        verdicts=verdicts,
        descriptions={target.name: target.description for target in found},
        settings=Settings(num_warmup, num_samples, num_chains),
        is_complete=is_complete,
    )


def _join(tables: list[pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=["target", "kernel", *ERROR_COLUMNS])
    return pd.concat(tables, ignore_index=True)
