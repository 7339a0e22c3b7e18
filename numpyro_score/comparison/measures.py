"""One run of a comparison, measured: its row, its errors, and the error as draws are added."""

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
import xarray as xr

from numpyro_score.comparison.needed import more_evaluations
from numpyro_score.comparison.table import make_row
from numpyro_score.diagnostics.assessment import Assessment, assess
from numpyro_score.diagnostics.cost import Costs, costs
from numpyro_score.diagnostics.discrepancy.sliced import lines, wasserstein_along
from numpyro_score.diagnostics.errors import expectation_values
from numpyro_score.diagnostics.posterior import posterior
from numpyro_score.groups import SAMPLE_DIMS
from numpyro_score.targets import Expectation, Target

CURVE_COLUMNS = ("num_draws", "evaluations", "seconds", "error_sd")
"""Columns of `error_curve`."""

PARTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Parts of the draws after which the error is computed."""

MAX_COMPARED = 2000
"""Draws that are compared with as many exact ones."""

NUM_FLOORS = 5
"""Pairs of exact samples whose distance is averaged for the floor."""


class Measured(NamedTuple):
    """What was measured of one run.

    Attributes
    ----------
    row
        As `make_row` returns it.
    assessment
        As `assess` returns it.
    errors
        As `expectation_errors` returns it.
    curve
        As `error_curve` returns it.
    """

    row: dict[str, Any]
    assessment: Assessment
    errors: pd.DataFrame
    curve: pd.DataFrame


def error_curve(dt: xr.DataTree, expectations: Sequence[Expectation], spent: Costs) -> pd.DataFrame:
    """Error of known expectations as draws are added, and the cost up to then.

    Parameters
    ----------
    dt
        Draws whose posterior holds the variables that the expectations read.
    expectations
        What is known.
    spent
        `costs(dt)`.

    Returns
    -------
    A row for each of `PARTS`, in the columns `CURVE_COLUMNS`: draws of all chains, evaluations and
    seconds so far (warmup included, a gradient counts as two), and the root of the mean squared
    error of all expectations, in the target's standard deviations. Empty where nothing is known.

    Examples
    --------
    >>> import arviz as az
    >>> from numpyro_score.targets import gumbel
    >>> target = gumbel()
    >>> x = np.asarray(target.sample(jax.random.key(0), 4000)["x"]).reshape(4, 1000, 2)
    >>> dt = az.from_dict({"posterior": {"x": x}})
    >>> error_curve(dt, target.expectations, costs(dt)).num_draws.tolist()
    [124, 248, 500, 1000, 2000, 4000]
    """
    if not expectations:
        return pd.DataFrame(columns=list(CURVE_COLUMNS), dtype=float)
    data = posterior(dt).transpose(*SAMPLE_DIMS, ...)
    num_chains, num_draws = data.sizes["chain"], data.sizes["draw"]
    ends = np.unique([max(int(part * num_draws), 1) for part in PARTS])
    squares = []
    for known in expectations:
        values = expectation_values(known, data)
        sums = np.cumsum(values.mean(axis=0), axis=0)[ends - 1]
        means = sums / ends.reshape(-1, *[1] * (sums.ndim - 1))
        squares.append((((means - known.truth) / known.sd) ** 2).reshape(len(ends), -1))
    error = np.sqrt(np.concatenate(squares, axis=1).mean(axis=1))
    part = ends / num_draws
    return pd.DataFrame(
        {
            "num_draws": num_chains * ends,
            "evaluations": spent.evaluations - (1 - part) * spent.sampling,
            "seconds": spent.seconds - (1 - part) * spent.seconds_sampling,
            "error_sd": error,
        }
    )


def distance(dt: xr.DataTree, target: Target) -> tuple[float, float]:
    """Sliced 2-Wasserstein distance to exact draws of the target, and its floor.

    In units of the target's standard deviations, of `MAX_COMPARED` draws at most; the floor is the
    distance between two samples of exact draws, of the same size.

    Parameters
    ----------
    dt
        Draws whose posterior holds the target's variables.
    target
        What they should be draws of.

    Returns
    -------
    Both, or NaN where the target has no exact draws or a draw is not finite.

    Examples
    --------
    >>> import arviz as az
    >>> from numpyro_score.targets import gumbel
    >>> x = np.random.default_rng(0).normal(size=(4, 500, 2))
    >>> value, floor = distance(az.from_dict({"posterior": {"x": x}}), gumbel())
    >>> value > 3 * floor
    True
    """
    if not target.has_exact_draws:
        return math.nan, math.nan
    data = posterior(dt)
    step = max(-(-data.sizes["chain"] * data.sizes["draw"] // MAX_COMPARED), 1)
    # the same for every run of a target
    key = jax.random.key(zlib.crc32(target.name.encode()))
    size = data.sizes["chain"] * len(range(0, data.sizes["draw"], step))
    exact = target.sample(key, (2 * NUM_FLOORS + 1) * size)
    if not set(exact) <= set(data.data_vars):
        return math.nan, math.nan
    parts, scaled = [], []
    for name, values in exact.items():
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        sd = np.where(flat.std(axis=0) > 0, flat.std(axis=0), 1.0)
        drawn = data[name].transpose(*SAMPLE_DIMS, ...).values[:, ::step].astype(np.float64)
        parts.append(drawn.reshape(-1, flat.shape[1]) / sd)
        scaled.append(flat / sd)
    mine, samples = np.concatenate(parts, axis=1), np.concatenate(scaled, axis=1)
    if not np.isfinite(mine).all():
        return math.nan, math.nan
    along = lines(mine.shape[1], np.random.default_rng(0))
    first, *pairs = np.split(samples @ along, 2 * NUM_FLOORS + 1)
    floors = [wasserstein_along(a, b) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
    return wasserstein_along(mine @ along, first), float(np.mean(floors))


def measure(dt: xr.DataTree, target: Target) -> Measured:
    """All that a comparison records of a run.

    Parameters
    ----------
    dt
        The run, in memory.
    target
        What it should be draws of.

    Raises
    ------
    ValueError
        If the run lacks a variable that an expectation of the target reads.
    """
    found, spent = assess(dt, target, with_discrepancy=False), costs(dt)
    row = make_row(dt, found, spent, distance(dt, target))
    row["evaluations_needed"] = more_evaluations(dt, found.verdict, spent)
    return Measured(row, found, found.errors, error_curve(dt, target.expectations, spent))
