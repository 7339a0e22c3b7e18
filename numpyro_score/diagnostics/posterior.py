"""The posterior of a tree, its warmup, and the labels of its scalars.

A scalar is labelled as ArviZ labels it, `theta[Choate]`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import xarray as xr
from arviz_base import xarray_sel_iter
from arviz_base.labels import BaseLabeller

from numpyro_score.groups import SAMPLE_DIMS, read_group


def posterior(dt: xr.DataTree) -> xr.Dataset:
    """The posterior group, groups inside of it included, with dimensions chain and draw.

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
    data = read_group(dt, "posterior")
    keep = [
        name
        for name, values in data.data_vars.items()
        # a variable of no elements, such as a vector of length 0, has nothing to say
        if set(SAMPLE_DIMS) <= set(values.dims) and values.dtype.kind in "biuf" and values.size
    ]
    if not keep:
        dims = ", ".join(f"{dim}={size}" for dim, size in data.sizes.items()) or "none"
        raise ValueError(
            f"the group 'posterior' holds no numeric draws (dimensions: {dims}); its variables "
            "need dimensions chain and draw, and at least one draw"
        )
    return data[keep]


def num_divergent(statistics: Mapping[Any, xr.DataArray]) -> int | None:
    """Draws that the sampler marked as divergent; None where it does not say.

    Parameters
    ----------
    statistics
        Variables of the group `sample_stats`, by name.

    Raises
    ------
    ValueError
        If the marks are text.

    Examples
    --------
    >>> num_divergent({"diverging": xr.DataArray([[True, False]], dims=("chain", "draw"))})
    1
    """
    if "diverging" not in statistics:
        return None
    marks = statistics["diverging"]
    if marks.dtype.kind not in "biuf":
        shown = str(marks.values.flat[0])
        raise ValueError(
            f"diverging in the group sample_stats holds {shown!r}, but must hold booleans, or 0 "
            "and 1; convert it, for instance with dt['sample_stats']['diverging'] = "
            "dt['sample_stats']['diverging'] == 'True'"
        )
    return int(marks.sum())


def labels(data: xr.Dataset) -> Iterator[str]:
    """The label of every scalar of a Dataset with dimensions chain and draw, in its order.

    Parameters
    ----------
    data
        Variables with dimensions chain, draw and any others.

    Examples
    --------
    >>> import numpy as np
    >>> theta = xr.DataArray(np.zeros((4, 9, 2)), dims=("chain", "draw", "school"))
    >>> list(labels(xr.Dataset({"theta": theta})))
    ['theta[0]', 'theta[1]']
    """
    labeller = BaseLabeller()
    for name, sel, isel in xarray_sel_iter(data, skip_dims=set(SAMPLE_DIMS)):
        yield labeller.make_label_flat(name, sel, isel)


def label_of(data: xr.Dataset, name: str, place: int) -> str:
    """The label of one scalar of a variable.

    Parameters
    ----------
    data
        Variables with dimensions chain, draw and any others.
    name, place
        The variable, and the place among its scalars.
    """
    return list(labels(data[[name]].transpose(*SAMPLE_DIMS, ...)))[place]


def warmup(dt: xr.DataTree, data: xr.Dataset) -> tuple[xr.Dataset | None, str]:
    """The warmup of a posterior, if it is there in full.

    Parameters
    ----------
    dt
        Draws, of any origin.
    data
        Its posterior.

    Returns
    -------
    The warmup of the same variables in their order, and ""; or None and why it cannot precede the
    posterior.

    Examples
    --------
    >>> import numpy as np
    >>> early, late = (xr.Dataset({"x": (SAMPLE_DIMS, np.zeros((4, n)))}) for n in (5, 9))
    >>> tree = xr.DataTree.from_dict({"posterior": late, "warmup_posterior": early})
    >>> warmup(tree, late)[0].sizes["draw"]
    5
    >>> warmup(xr.DataTree.from_dict({"posterior": late}), late)
    (None, 'no warmup is kept')
    """
    if "warmup_posterior" not in dt.children:
        return None, "no warmup is kept"
    early = read_group(dt, "warmup_posterior")
    if early.sizes.get("draw", 0) == 0:
        return None, "no warmup is kept"
    missing = [str(name) for name in data.data_vars if name not in early.data_vars]
    if missing:
        return None, f"the kept warmup lacks {', '.join(missing)}"
    early = early[list(data.data_vars)].transpose(*SAMPLE_DIMS, ...)
    for name, values in data.data_vars.items():
        shape, early_shape = values.shape, early[name].shape
        if (shape[0], shape[2:]) != (early_shape[0], early_shape[2:]):
            return None, f"the kept warmup of {name} is of another shape"
    return early, ""


def at_draws(data: xr.Dataset, values: xr.DataArray) -> xr.DataArray | None:
    """Statistics of the chains and draws of a posterior; None where it is not known which they are.

    Those of the same labels, or those in the same place where labels do not tell.

    Parameters
    ----------
    data
        The posterior.
    values
        A statistic `(chain, draw)`, of these draws or of more.

    Examples
    --------
    >>> import numpy as np
    >>> data = xr.Dataset(coords={"chain": [1, 3], "draw": [0, 4, 8]})
    >>> values = xr.DataArray(np.ones((4, 9)), dims=SAMPLE_DIMS)
    >>> at_draws(data, values) is None
    True
    >>> at_draws(data, values.assign_coords(chain=np.arange(4), draw=np.arange(9))).shape
    (2, 3)
    """
    for dim in SAMPLE_DIMS:
        if dim in data.indexes and dim in values.indexes:
            wanted, known = data.indexes[dim], values.indexes[dim]
            if not wanted.equals(known) and known.is_unique and wanted.isin(known).all():
                values = values.sel({dim: wanted})
        if values.sizes[dim] != data.sizes[dim]:
            return None
    return values
