"""The scalars of a posterior: one label and one array of draws for each.

A posterior's variables have any shape; diagnostics are about single numbers. A scalar is labelled
as ArviZ labels it, `theta[Choate]`, and holds draws `(chain, draw)`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from arviz_base import xarray_sel_iter
from arviz_base.labels import BaseLabeller
from jaxtyping import Float

SAMPLE_DIMS = ("chain", "draw")


class Scalar(NamedTuple):
    """One number of the posterior.

    Attributes
    ----------
    label
        Variable name and place in it, `theta[Choate]`.
    values
        Its draws, `(chain, draw)`.
    """

    label: str
    values: Float[np.ndarray, "chain draw"]


def posterior(dt: xr.DataTree) -> xr.Dataset:
    """The posterior group, with dimensions chain and draw.

    Parameters
    ----------
    dt
        Draws, of any origin.

    Raises
    ------
    ValueError
        If there is no posterior group, or nothing numeric with draws in it.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> posterior(az.from_dict({"posterior": {"x": np.zeros((4, 100))}})).sizes["draw"]
    100
    """
    if "posterior" not in dt.children:
        groups = ", ".join(dt.children) or "none"
        raise ValueError(
            f"there is no group 'posterior' to diagnose (groups here: {groups}); give draws as "
            "ArviZ writes them, in a group 'posterior' with dimensions chain and draw"
        )
    data = dt["posterior"].to_dataset()
    keep = [
        name
        for name, values in data.data_vars.items()
        if set(SAMPLE_DIMS) <= set(values.dims) and values.dtype.kind in "biuf"
    ]
    if not keep or 0 in data[keep].sizes.values():
        dims = ", ".join(f"{dim}={size}" for dim, size in data.sizes.items()) or "none"
        raise ValueError(
            f"the group 'posterior' holds no numeric draws (dimensions: {dims}); its variables "
            "need dimensions chain and draw, and at least one draw"
        )
    return data[keep]


def scalars(data: xr.Dataset) -> Iterator[Scalar]:
    """Every scalar of a Dataset with dimensions chain and draw, in its order.

    Parameters
    ----------
    data
        Variables with dimensions chain, draw and any others.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> theta = xr.DataArray(np.zeros((4, 9, 2)), dims=("chain", "draw", "school"))
    >>> [(label, values.shape) for label, values in scalars(xr.Dataset({"theta": theta}))]
    [('theta[0]', (4, 9)), ('theta[1]', (4, 9))]
    """
    labeller = BaseLabeller()
    ordered = data.transpose(*SAMPLE_DIMS, ...)
    for name, sel, isel in xarray_sel_iter(ordered, skip_dims=set(SAMPLE_DIMS)):
        # by position: labels along a dimension may repeat
        values = ordered[name].isel(isel).values
        yield Scalar(labeller.make_label_flat(name, sel, isel), values.astype(np.float64))


def select(data: xr.Dataset, places: Sequence[int]) -> xr.DataArray:
    """Draws of some scalars as one array with dimension `parameter`.

    Parameters
    ----------
    data
        Variables with dimensions chain, draw and any others.
    places
        Which scalars, by their place in `scalars(data)` (labels may repeat), as they are wanted.

    Returns
    -------
    Float64 values, dimensions `(parameter, chain, draw)`, the labels as coordinate `label`,
    chains and draws numbered from 0.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> theta = xr.DataArray(np.zeros((4, 9, 2)), dims=("chain", "draw", "school"))
    >>> select(xr.Dataset({"theta": theta}), [1]).label.values.tolist()
    ['theta[1]']
    """
    wanted = set(places)
    found = {place: s for place, s in enumerate(scalars(data)) if place in wanted}
    values = np.stack([found[place].values for place in places])
    return xr.DataArray(
        values,
        dims=("parameter", *SAMPLE_DIMS),
        coords={
            "label": ("parameter", [found[place].label for place in places]),
            "chain": np.arange(values.shape[1]),
            "draw": np.arange(values.shape[2]),
        },
    )
