"""Variables of a group of a DataTree, those of groups inside of it included.

Draws lie in the group `posterior`, with dimensions chain and draw. A tree may nest groups in it; a
variable `w` of `posterior/net` is read as `net/w`.
"""

import xarray as xr

SAMPLE_DIMS = ("chain", "draw")
"""Dimensions of draws."""


def read_group(dt: xr.DataTree, name: str) -> xr.Dataset:
    """The variables of a group and of the groups inside of it, as one Dataset.

    Parameters
    ----------
    dt
        The tree.
    name
        A group of it.

    Returns
    -------
    The variables of the group by their names, those of inner groups by their path, `net/w`. A
    dimension of an inner group whose size or labels differ from those of a dimension of the same
    name has its path before it too. Variables that lie in a file are not loaded.

    Raises
    ------
    ValueError
        If the groups have different numbers of chains or draws.

    Examples
    --------
    >>> import numpy as np
    >>> outer = xr.Dataset({"mu": (SAMPLE_DIMS, np.zeros((4, 9)))})
    >>> inner = xr.Dataset({"w": ((*SAMPLE_DIMS, "i"), np.zeros((4, 9, 3)))})
    >>> dt = xr.DataTree.from_dict({"posterior": outer, "posterior/net": inner})
    >>> list(read_group(dt, "posterior").data_vars)
    ['mu', 'net/w']
    """
    group = dt[name]
    whole = group.to_dataset()
    for path, node in group.subtree_with_keys:
        if path == "." or not node.data_vars:
            continue
        part = node.to_dataset()
        for dim in SAMPLE_DIMS:
            sizes = whole.sizes.get(dim), part.sizes.get(dim)
            if None not in sizes and sizes[0] != sizes[1]:
                raise ValueError(
                    f"the group {name}/{path} has {dim}={sizes[1]}, where others of {name} have "
                    f"{dim}={sizes[0]}; give all variables the same chains and draws"
                )
        part = part.rename(
            {dim: f"{path}/{dim}" for dim in part.dims if _clashes(dim, part, whole)}
        )
        new = {f"{path}/{variable}": part.variables[variable] for variable in part.data_vars}
        coords = {
            label: part.variables[label] for label in part.coords if label not in whole.variables
        }
        whole = whole.assign_coords(coords).assign(new)
    return whole


def _clashes(dim: object, part: xr.Dataset, whole: xr.Dataset) -> bool:
    """Whether a dimension is another one than that of the same name."""
    if dim in SAMPLE_DIMS or dim not in whole.dims:
        return False
    if part.sizes[dim] != whole.sizes[dim]:
        return True
    labels = part.variables.get(dim), whole.variables.get(dim)
    return any(label is not None for label in labels) and not (
        labels[0] is not None and labels[1] is not None and labels[0].equals(labels[1])
    )
