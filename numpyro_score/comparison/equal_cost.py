"""Effective draws at equal cost: what each kernel would have if all had spent the same.

Exploring, training and warmup are paid once; draws, and effective draws with them, grow in
proportion to what is left.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from numpyro_score.comparison.result import Settings
from numpyro_score.run import Evaluations, Seconds

UNITS = {"evaluations": Evaluations, "seconds": Seconds}


class EqualCost(NamedTuple):
    """Effective draws at equal cost.

    Attributes
    ----------
    cost
        What each kernel is to have spent; NaN where no kernel says what it spent.
    table
        Columns `ess`, `low` and `high` (ends of the interval over seeds, or NaN), by kernel.
    """

    cost: float
    table: pd.DataFrame


def equal_cost(table: pd.DataFrame, settings: Settings, unit: str) -> EqualCost:
    """Effective draws of the worst scalar at the budget, or at the largest cost of a run.

    Parameters
    ----------
    table
        Rows of the comparison's table for one target, by kernel.
    settings
        What the runs had in common.
    unit
        "evaluations" or "seconds".

    Examples
    --------
    >>> from numpyro_score.comparison.table import COLUMNS
    >>> table = pd.DataFrame(index=["a", "b"], columns=COLUMNS, dtype=float)
    >>> table["ess_bulk"], table["evaluations"] = 100.0, [1000.0, 3000.0]
    >>> table["warmup_share"] = [0.5, 0.1]
    >>> found = equal_cost(table, Settings(10, 10, 4), "evaluations")
    >>> found.cost, found.table.ess.tolist()  # a pays 500, then 100 for every 500
    (3000.0, [500.0, 100.0])
    """
    if unit == "evaluations":
        total = table["evaluations"]
        before = table["warmup_share"] * total
        rate = "ess_per_evaluation"
    else:
        before = table["seconds_training"].fillna(0) + table["seconds_warmup"]
        total = before + table["seconds_sampling"]
        rate = "ess_per_second"
    is_given = isinstance(settings.budget, UNITS[unit])
    cost = float(total.max())
    if settings.budget and is_given:
        cost = float(settings.budget.number)
    sampling = (total - before).where(total > before)
    ess = table["ess_bulk"] * ((cost - before) / sampling).clip(lower=0.0)
    middle = table[rate].where(table[rate] > 0)
    ends = {end: ess * table[f"{rate}_{end}"] / middle for end in ("low", "high")}
    found = pd.DataFrame({"ess": ess, **ends}).astype("float64")
    return EqualCost(cost, found.replace([np.inf, -np.inf], np.nan))
