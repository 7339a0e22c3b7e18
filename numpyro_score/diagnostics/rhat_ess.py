"""R-hat and effective sample sizes of every scalar of a posterior.

Rank-normalised split R-hat (the larger of bulk and folded) and bulk and tail effective sample
sizes: Vehtari, Gelman, Simpson, Carpenter and Bürkner, Rank-normalization, folding, and
localization: An improved R-hat (Bayesian Analysis 16, 2021, arXiv:1903.08008). The numbers are
those of arviz-stats.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import xarray as xr
from arviz_base import rcParams
from arviz_stats.base import array_stats
from jaxtyping import Float

MIN_DRAWS = 4
"""Draws per chain below which arviz-stats computes nothing."""


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings: statistics that cannot be computed are NaN, and reported as such."""
    logger = logging.getLogger("arviz_stats")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        logger.setLevel(level)


def effective_draws(
    values: Float[np.ndarray, "*batch chain draw"], method: Literal["bulk", "tail"]
) -> Float[np.ndarray, "*batch"]:
    """Bulk or tail effective sample size of some scalars.

    Parameters
    ----------
    values
        Their draws.
    method
        Which of both.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(2, 4, 100))
    >>> effective_draws(x, "tail").shape
    (2,)
    """
    # the quantiles that `arviz.ess` and `arviz.summary` look at
    tail = {"prob": rcParams["stats.ci_prob"]} if method == "tail" else {}
    return np.asarray(array_stats.ess(values, method=method, **tail))


def statistics(
    values: Float[np.ndarray, "chain draw"],
    *,
    is_finite: bool,
    is_constant: bool,
    ess_bulk: float,
) -> dict[str, float | bool]:
    """A row of `convergence`, of one scalar.

    Parameters
    ----------
    values
        Its draws.
    is_finite, is_constant
        Whether all are finite, and whether all are the same up to rounding.
    ess_bulk
        `effective_draws(values, "bulk")`.

    Examples
    --------
    >>> x = np.ones((4, 100))
    >>> statistics(x, is_finite=True, is_constant=True, ess_bulk=math.nan)["rhat"]
    nan
    """
    flags = {"is_finite": is_finite, "is_constant": is_constant}
    moments = {"mean": float(values.mean()), "sd": float(values.std())}
    num_chains, num_draws = values.shape
    if not is_finite or is_constant or num_draws < MIN_DRAWS:
        return dict.fromkeys(("ess_bulk", "ess_tail", "rhat"), math.nan) | moments | flags
    return {
        "ess_bulk": ess_bulk,
        "ess_tail": float(effective_draws(values, "tail")),
        "rhat": float(array_stats.rhat(values)) if num_chains > 1 else math.nan,
        **moments,
        **flags,
    }


def worst_first(table: xr.Dataset) -> list[int]:
    """Places of the scalars that vary, the least reliable first.

    Those that are not finite, then by the smaller of the two effective sample sizes.

    Parameters
    ----------
    table
        As `convergence` returns it.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> from numpyro_score.diagnostics import convergence
    >>> x = np.random.default_rng(0).normal(size=(4, 200))
    >>> draws = {"fine": x, "still": np.ones((4, 200)), "slow": np.cumsum(x, axis=1)}
    >>> table = convergence(az.from_dict({"posterior": draws}))
    >>> table.parameter.values[worst_first(table)].tolist()
    ['slow', 'fine']
    """
    ess = np.minimum(table.ess_bulk.values, table.ess_tail.values)
    ess = np.where(table.is_finite.values, np.nan_to_num(ess, nan=0.0), -1.0)
    order = np.argsort(ess, kind="stable")
    return [int(place) for place in order if not table.is_constant.values[place]]
