"""What ends a run before its last step: enough effective draws, or a budget."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from numpyro_score.checks import check_whole
from numpyro_score.run.budget import Budget, Evaluations, Seconds
from numpyro_score.run.choice import Choice
from numpyro_score.run.density import RunDensity
from numpyro_score.run.program import Program
from numpyro_score.run.recommend import MAX_SAMPLES
from numpyro_score.run.tree import Converter
from numpyro_score.run.until import Until, check_until
from numpyro_score.run.within import Within


def check_goal(until: int | Budget | None, *, resume: bool, keep_warmup: bool) -> None:
    """Check what a run ends by.

    Parameters
    ----------
    until
        An effective sample size, a budget, or None.
    resume, keep_warmup
        As `sample` was given them.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or cannot be used in such a run.
    """
    if until is None:
        return
    if not isinstance(until, Evaluations | Seconds):
        check_until(until, resume=resume)
        return
    if jax.process_count() > 1:
        raise ValueError(
            "a budget cannot be used in a run on several processes, each of which counts its own "
            "chains; give num_samples"
        )
    if resume and isinstance(until, Seconds):
        raise ValueError(
            "a budget of Seconds cannot be used in a run that is resumed: seconds since the last "
            "commit of a killed run are not known; give Evaluations or num_samples"
        )
    if resume and not keep_warmup:
        raise ValueError(
            "a budget in a run that is resumed needs keep_warmup=True: the cost of warmup is read "
            "from the store"
        )


def most_samples(until: int | Budget, num_chains: int) -> int:
    """Draws of each chain at which a run ends that is not given `num_samples`.

    Parameters
    ----------
    until
        What it ends by before.
    num_chains
        Its chains.

    Raises
    ------
    TypeError, ValueError
        If their number is no whole number above 0.
    """
    check_whole("num_chains", num_chains)
    if isinstance(until, Evaluations | Seconds):
        return until.max_draws(num_chains)
    return MAX_SAMPLES


def make_goal(
    until: int | Budget | None,
    program: Program,
    converter: Converter,
    num_warmup: int,
    learned: Mapping[str, Any],
    stored: Path | None,
    choice: Choice,
    density: RunDensity | None,
) -> Until | Within | None:
    """What counts during the run, and ends it.

    Parameters
    ----------
    until
        What it ends by.
    program, converter, num_warmup
        What runs, what makes a posterior of its draws, and the steps of its warmup.
    learned
        Attributes of the run that are known before its first step.
    stored
        Folder with the earlier part of the run; None where there is none.
    choice
        The kernel, and what takes its place.
    density
        The log density of the run, if it is known.
    """
    if until is None:
        return None
    if not isinstance(until, Evaluations | Seconds):
        return Until(until, converter, choice, program.thinning, density)
    earlier = None if stored is None else xr.open_datatree(stored, engine="zarr")
    return Within(
        until, program.kernel, program.fields, program.thinning, num_warmup, learned, earlier
    )
