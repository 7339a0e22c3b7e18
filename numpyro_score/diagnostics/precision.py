"""Whether float32 is the likely cause of a failed run."""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.finding import Finding, Severity

ROUNDING = 0.1
"""Rounding of a float32 log density from which on an accept/reject step suffers."""

FAILED_SHARE = 0.5
"""Share of the steps divergent, or of the chains frozen, from which on float32 is suspected."""


class Precision(NamedTuple):
    """The precision of a run in float32.

    Attributes
    ----------
    logdensity
        Median size of the log density; NaN if it is not recorded.
    rounding
        Spacing of float32 numbers of that size.
    """

    logdensity: float
    rounding: float


def precision_of(dt: xr.DataTree, data: xr.Dataset) -> Precision | None:
    """The precision of a run; None if it is better than float32.

    Parameters
    ----------
    dt, data
        The run, and its posterior.

    Examples
    --------
    >>> data = xr.Dataset({"x": (("chain", "draw"), np.zeros((4, 9), np.float32))})
    >>> precision_of(xr.DataTree(), data), precision_of(xr.DataTree(), data.astype(float))
    (Precision(logdensity=nan, rounding=nan), None)
    """
    kinds = [values.dtype for values in data.data_vars.values() if values.dtype.kind == "f"]
    if not kinds or max(kind.itemsize for kind in kinds) > np.dtype(np.float32).itemsize:
        return None
    if "sample_stats" not in dt.children or "lp" not in dt["sample_stats"].data_vars:
        return Precision(math.nan, math.nan)
    sizes = np.abs(dt["sample_stats"].data_vars["lp"].values)
    sizes = sizes[np.isfinite(sizes)]
    if not sizes.size:
        return Precision(math.nan, math.nan)
    size = float(np.median(sizes))
    return Precision(size, float(np.spacing(np.float32(size))))


def too_coarse(
    precision: Precision | None, share_divergent: float, share_frozen: float
) -> list[Finding]:
    """That float32 is the likely cause of what else was found in a run, if it is.

    Parameters
    ----------
    precision
        As `precision_of` returns it.
    share_divergent, share_frozen
        Share of the steps that are divergent, and of the chains that never moved.

    Examples
    --------
    >>> too_coarse(Precision(3e6, 0.25), 0.0, 0.0)[0].value
    0.25
    """
    if precision is None:
        return []
    # NaN is not above it
    is_coarse = precision.rounding >= ROUNDING
    if not is_coarse and max(share_divergent, share_frozen) < FAILED_SHARE:
        return []
    details = {"logdensity": precision.logdensity if is_coarse else math.nan}
    return [Finding("precision", Severity.WARNING, (), precision.rounding, ROUNDING, details)]
