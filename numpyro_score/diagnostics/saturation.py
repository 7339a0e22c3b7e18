"""Whether draws are so near to a bound that floating point does not tell them from it.

A site between two bounds is a sigmoid of an unconstrained coordinate. Near an upper bound, and near
1 for the parts of a simplex, numbers are spaced by `eps` times the range, and the sigmoid does not
change any more. A density that grows without limit there, such as that of a Beta or Dirichlet
distribution with a concentration below 1, is cut off, and what lies beyond has too little mass:
means of Beta(.1, .1) in float32 are .44, 13 standard errors from .5. `sample` records the bounds of
the model's sites (`run/bounds.py`); deterministic sites may reach a bound, and have none there.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.formatting import count, listed
from numpyro_score.diagnostics.wording import Words

BOUNDS = "site_bounds"
"""Attribute of a run: site -> its bounds, as JSON."""

MAX_DRAWS = 10_000
"""Draws that are looked at, evenly spaced."""

LEAST_SHARE = 5e-4
"""Share of them at a bound from which on it is said."""


class Saturation(NamedTuple):
    """Draws at upper bounds.

    Attributes
    ----------
    names
        Sites with enough of them, that with most first.
    num
        Draws of that one, of those that were looked at.
    least
        Number from which on it is said.
    dtype
        Type of its numbers.
    """

    names: tuple[str, ...]
    num: int
    least: float
    dtype: str


def at_bounds(dt: xr.DataTree, data: xr.Dataset) -> Saturation | None:
    """Sites of which draws cannot be told from an upper bound; None where there is none.

    Parameters
    ----------
    dt, data
        The run, and its posterior.

    Examples
    --------
    >>> p = np.linspace(0.2, 0.9, 4_000, dtype=np.float32).reshape(4, 1_000)
    >>> p[0, :7] = 1.0
    >>> data = xr.Dataset({"p": (("chain", "draw"), p)})
    >>> at_bounds(xr.DataTree(), data)
    >>> at_bounds(xr.DataTree(xr.Dataset(attrs={"site_bounds": '{"p": [0, 1]}'})), data)
    Saturation(names=('p',), num=7, least=2.0, dtype='float32')
    """
    found = {name: _num_at_bound(data[name], *bounds) for name, bounds in _bounds(dt, data)}
    least = max(LEAST_SHARE * min(data.sizes["chain"] * data.sizes["draw"], MAX_DRAWS), 1.0)
    names = sorted((name for name in found if found[name] >= least), key=lambda name: -found[name])
    if not names:
        return None
    return Saturation(tuple(names), found[names[0]], least, data[names[0]].dtype.name)


def saturated(found: Saturation | None) -> list[Finding]:
    """That draws cannot be told from their bound, if so."""
    if found is None:
        return []
    details = {"dtype": found.dtype}
    severity = Severity.WARNING
    return [Finding("saturated", severity, found.names, found.num, found.least, details)]


def _bounds(dt: xr.DataTree, data: xr.Dataset) -> Iterator[tuple[str, list[float]]]:
    for name, bounds in json.loads(dt.attrs.get(BOUNDS, "{}")).items():
        if name in data and data[name].dtype.kind == "f":
            yield name, [float(bound) for bound in bounds]


def _num_at_bound(draws: xr.DataArray, lower: float, upper: float) -> int:
    """Draws in which some entry is at the upper bound, up to rounding."""
    step = -(-draws.sizes["chain"] * draws.sizes["draw"] // MAX_DRAWS)
    thinned = draws.isel(draw=slice(None, None, step)).transpose("chain", "draw", ...).values
    eps = np.finfo(thinned.dtype).eps
    is_near = thinned >= upper - eps * max(upper - lower, abs(upper))
    return int(is_near.reshape(*is_near.shape[:2], -1).any(axis=2).sum())


def saturated_words(found: Finding) -> Words:
    """The finding of `saturated` in words."""
    dtype = str(found.details["dtype"])
    wider = "Try numpyro.enable_x64(), or sample" if dtype == "float32" else "Sample"
    return Words(
        f"Draws of {listed(found.parameters)} are at an upper bound, up to the rounding of {dtype} "
        f"({count(found.value)} of those looked at). What lies beyond is cut off: means may be "
        "wrong.",
        f"{wider} the distance to that bound on a logarithmic scale.",
    )
