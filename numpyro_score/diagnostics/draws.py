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


def warmup(dt: xr.DataTree) -> tuple[xr.Dataset | None, str]:
    """The warmup of the posterior, if it is there in full.

    Parameters
    ----------
    dt
        Draws, of any origin.

    Returns
    -------
    The group `warmup_posterior` with the posterior's variables and its order, and ""; or None and
    the reason why it cannot be set before the posterior.

    Examples
    --------
    >>> import numpy as np
    >>> early, late = (xr.Dataset({"x": (SAMPLE_DIMS, np.zeros((4, n)))}) for n in (5, 9))
    >>> tree = xr.DataTree.from_dict({"posterior": late, "warmup_posterior": early})
    >>> warmup(tree)[0].sizes["draw"]
    5
    >>> warmup(xr.DataTree.from_dict({"posterior": late}))
    (None, 'no warmup is kept')
    """
    if "warmup_posterior" not in dt.children:
        return None, "no warmup is kept"
    data, early = posterior(dt), dt["warmup_posterior"].to_dataset()
    if early.sizes.get("draw", 0) == 0:
        return None, "no warmup is kept"
    missing = [str(name) for name in data.data_vars if name not in early.data_vars]
    if missing:
        return None, f"the kept warmup lacks {', '.join(missing)}"
    ordered = data.transpose(*SAMPLE_DIMS, ...)
    early = early[list(data.data_vars)].transpose(*SAMPLE_DIMS, ...)
    for name, values in ordered.data_vars.items():
        shape, early_shape = values.shape, early[name].shape
        if (shape[0], shape[2:]) != (early_shape[0], early_shape[2:]):
            return None, f"the kept warmup of {name} is of another shape"
    return early, ""


def series(early: xr.Dataset | None, data: xr.Dataset) -> Iterator[Scalar]:
    """Every scalar of a posterior, with its warmup before it.

    Parameters
    ----------
    early
        As `warmup` returns it, None for no warmup.
    data
        As `posterior` returns it.
    """
    if early is None:
        yield from scalars(data)
        return
    for first, rest in zip(scalars(early), scalars(data), strict=True):
        yield Scalar(rest.label, np.concatenate([first.values, rest.values], axis=1))


def problem(values: Float[np.ndarray, "chain draw"], min_draws: int) -> str:
    """Why nothing can be said about a scalar, or nothing.

    Parameters
    ----------
    values
        Draws `(chain, draw)`.
    min_draws
        Draws a chain that it takes.

    Examples
    --------
    >>> problem(np.zeros((4, 100)), 50), problem(np.eye(4), 50), problem(np.eye(50), 50)
    ('never changes', 'has fewer than 50 draws a chain', '')
    """
    if not np.isfinite(values).all():
        return "has draws that are not finite"
    if values.min() == values.max():
        return "never changes"
    if values.shape[1] < min_draws:
        return f"has fewer than {min_draws} draws a chain"
    return ""


def num_scalars(data: xr.Dataset) -> int:
    """How many scalars a Dataset with dimensions chain and draw holds."""
    return sum(
        int(np.prod([size for dim, size in x.sizes.items() if dim not in SAMPLE_DIMS]))
        for x in data.data_vars.values()
    )
