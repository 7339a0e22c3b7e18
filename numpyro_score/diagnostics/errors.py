"""How far estimates are from known values: errors of expectations in two units.

For `E[f] = m` known with standard error `s`, and its estimate `a` with Monte Carlo standard error
`e` (autocorrelation allowed for, as arviz-stats' `mcse`),

    error_mcse = |a - m| / sqrt(e^2 + s^2)        is it larger than chance explains?
    error_sd   = |a - m| / sd(f)                  does it matter?

An exact kernel has `error_mcse` of order one however long it runs; a biased one has an `error_sd`
that stays while `error_mcse` grows.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Float
from numpyro.infer import MCMC

from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, quiet
from numpyro_score.targets import Expectation

KNOWN_VALUE_FALSE_ALARM = 1e-3
"""Probability that exact, well mixed draws are said to miss a known value."""

ERROR_COLUMNS = (
    "expectation",
    "quantity",
    "estimate",
    "mcse",
    "truth",
    "truth_se",
    "sd",
    "error_mcse",
    "error_sd",
)
"""Columns of `expectation_errors`."""


def chance_limit(num_quantities: int) -> float:
    """The error, in Monte Carlo standard errors, that the worst of some quantities has by chance.

    Parameters
    ----------
    num_quantities
        How many are looked at, at least 1.

    Returns
    -------
    `z` with `P(max |error| > z) <= KNOWN_VALUE_FALSE_ALARM` for Gaussian errors, by Bonferroni's
    bound.

    Examples
    --------
    >>> round(chance_limit(1), 2), round(chance_limit(60), 2)
    (3.29, 4.31)
    """
    return -NormalDist().inv_cdf(KNOWN_VALUE_FALSE_ALARM / (2 * max(num_quantities, 1)))


def _place(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _mcse(values: Float[np.ndarray, "chain draw"]) -> float:
    if values.shape[1] < MIN_DRAWS or not np.isfinite(values).all():
        return float("nan")
    return float(array_stats.mcse(values, method="mean"))


def expectation_values(
    known: Expectation, data: Mapping[Any, Any]
) -> Float[np.ndarray, "chain draw *shape"]:
    """What an expectation is the mean of, for every draw.

    Parameters
    ----------
    known
        The expectation.
    data
        Variable name -> draws `(chain, draw, *event)`, as xarray holds them.

    Raises
    ------
    ValueError
        If the variable is missing, or the values have another shape than the known value.

    Examples
    --------
    >>> import xarray as xr
    >>> from numpyro_score.targets import gumbel
    >>> data = xr.Dataset({"x": (("chain", "draw", "dim"), np.zeros((4, 100, 2)))})
    >>> expectation_values(gumbel().expectations[0], data).shape
    (4, 100, 2)
    """
    if known.variable not in data:
        raise ValueError(
            f"expectation {known.name!r} is of the variable {known.variable!r}, which the "
            f"posterior lacks; it has {', '.join(map(str, data))}"
        )
    draws = data[known.variable].values.astype(np.float64)
    values = np.asarray(known.fn({known.variable: draws}), dtype=np.float64)
    wanted = (*draws.shape[:2], *known.truth.shape)
    if values.shape != wanted:
        raise ValueError(
            f"expectation {known.name!r} of {known.variable!r}: its known value has shape "
            f"{known.truth.shape}, so that fn must return {wanted} (chain, draw, and that shape) "
            f"for draws of shape {draws.shape}, but it returned {values.shape}; give truth and sd "
            "the shape of one value of fn, and keep the first two axes in fn"
        )
    return values


def expectation_errors(
    dt: xr.DataTree | MCMC | FlatDraws, expectations: Sequence[Expectation]
) -> pd.DataFrame:
    """Estimates of known expectations, and how far off they are.

    Parameters
    ----------
    dt
        Draws whose posterior holds the variables that the expectations read.
    expectations
        What is known.

    Returns
    -------
    A row for every element of every expectation, columns `ERROR_COLUMNS`: `expectation` (its
    name), `quantity` (the element, `mean(theta)[3]`), `estimate` and its `mcse`, `truth` and its
    standard error `truth_se`, the `sd` of the function under the target, and the error in both
    units. An estimate that did not vary has `mcse` 0, and an infinite `error_mcse` unless it is
    right.

    Raises
    ------
    ValueError
        If the posterior lacks a variable, or a known value has another shape than the values of
        its function.

    Examples
    --------
    >>> import arviz as az, jax, numpy as np
    >>> from numpyro_score.targets import gumbel
    >>> target = gumbel()
    >>> x = np.asarray(target.sample(jax.random.key(0), 4000)["x"]).reshape(4, 1000, 2)
    >>> table = expectation_errors(az.from_dict({"posterior": {"x": x}}), target.expectations)
    >>> table.columns[:3].tolist(), bool(table.error_mcse.max() < 4)
    (['expectation', 'quantity', 'estimate'], True)
    """
    data = flatten(dt).data
    rows = []
    for known in expectations:
        values = expectation_values(known, data)
        for index in np.ndindex(known.truth.shape):
            with quiet():
                mcse = _mcse(values[(..., *index)])
                estimate = float(values[(..., *index)].mean())
                error = abs(estimate - known.truth[index])
                total = np.hypot(mcse, known.standard_error[index])
                # 0 / 0: an estimate that cannot vary, and is right
                error_mcse = 0.0 if error == 0 else np.float64(error) / total
            rows.append(
                {
                    "expectation": known.name,
                    "quantity": f"{known.name}({known.variable}){_place(index)}",
                    "estimate": estimate,
                    "mcse": mcse,
                    "truth": float(known.truth[index]),
                    "truth_se": float(known.standard_error[index]),
                    "sd": float(known.sd[index]),
                    "error_mcse": float(error_mcse),
                    "error_sd": float(error / known.sd[index]),
                }
            )
    return pd.DataFrame(rows, columns=list(ERROR_COLUMNS))
