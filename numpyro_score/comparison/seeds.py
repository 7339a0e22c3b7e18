"""Several runs of one kernel on one target, by seed, as one row of a comparison.

Numbers are medians over seeds. Effective draws per gradient, per evaluation and per second have an
interval from the bootstrap over seeds (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, ch. 13): percentiles of the mean logarithm of resampled seeds, stretched by
`sqrt(n / (n - 1))` about its centre, because resamples of few seeds vary less than seeds do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

NUM_RESAMPLES = 10_000

COVERAGE = 0.95
"""Of an interval."""

RATES = ("ess_per_gradient", "ess_per_evaluation", "ess_per_second")
"""Columns that have an interval: `_low` and `_high` are appended to their names."""

INTERVALS = tuple(f"{name}_{end}" for name in RATES for end in ("low", "high"))


def bootstrap_interval(values: Float[np.ndarray, " seed"]) -> tuple[float, float]:
    """Interval of the mean of positive numbers, on the scale of their logarithms.

    Parameters
    ----------
    values
        One a seed.

    Returns
    -------
    Its ends; NaN where there are fewer than two positive, finite numbers.

    Examples
    --------
    >>> low, high = bootstrap_interval(np.array([8.0, 10.0, 11.0, 13.0, 9.0]))
    >>> 8 < low < 9.6 < 10.8 < high < 13
    True
    >>> bootstrap_interval(np.array([8.0]))
    (nan, nan)
    """
    logs = np.log(values[np.isfinite(values) & (values > 0)])
    size = len(logs)
    if size < 2:
        return float("nan"), float("nan")
    # the same for every comparison
    rng = np.random.default_rng(0)
    means = logs[rng.integers(size, size=(NUM_RESAMPLES, size))].mean(axis=1)
    tail = (1 - COVERAGE) / 2
    ends = np.quantile(means, [tail, 1 - tail])
    low, high = np.exp(logs.mean() + (ends - logs.mean()) * np.sqrt(size / (size - 1)))
    return float(low), float(high)


def _median(values: Sequence[Any]) -> float:
    known = [float(value) for value in values if value is not None and not np.isnan(float(value))]
    return float(np.median(known)) if known else float("nan")


def join(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows of some seeds as one.

    Parameters
    ----------
    rows
        As `make_row` returns them, or with a `failure`; at least one.

    Returns
    -------
    A row: medians, `converged` if all have, `num_seeds` that went through, intervals of `RATES`,
    and the first `failure` if none went through.

    Examples
    --------
    >>> one = {"rhat": 1.0, "converged": True, "failure": ""}
    >>> both = join([one, one | {"rhat": 1.5, "converged": False}])
    >>> both["rhat"], both["converged"], both["num_seeds"]
    (1.25, False, 2)
    """
    done = [row for row in rows if not row["failure"]]
    if not done:
        return dict(rows[0]) | {"num_seeds": 0}
    names = [name for name in done[0] if name not in ("exact", "converged", "failure")]
    joined: dict[str, Any] = {name: _median([row[name] for row in done]) for name in names}
    for name in RATES:
        values = np.array([float(row.get(name, np.nan)) for row in done])
        joined[f"{name}_low"], joined[f"{name}_high"] = bootstrap_interval(values)
    converged = [row.get("converged") for row in done]
    return joined | {
        "exact": done[0].get("exact"),
        "converged": all(converged),
        "num_seeds": len(done),
        "failure": "",
    }
