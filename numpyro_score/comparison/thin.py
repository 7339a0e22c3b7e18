"""Long runs of a comparison, thinned before they are measured.

A run within a budget may have many more draws than its diagnostics need. Thinning costs effective
draws where draws are nearly independent, so that it begins where there are plenty of them.
"""

import numpy as np
import xarray as xr

from numpyro_score.run.program import SUMMED

MAX_DRAWS = 5_000
"""Draws of each chain that are measured, at most."""


def thinned(dt: xr.DataTree, most: int = MAX_DRAWS) -> xr.DataTree:
    """A run with every k-th draw, for the smallest k that leaves at most `most` of each chain.

    Its warmup is left as it is. Evaluations are summed, so that costs stay what they were; the
    attribute `thinning` is multiplied by k.

    Parameters
    ----------
    dt
        The run.
    most
        Draws of each chain.

    Examples
    --------
    >>> import arviz as az
    >>> one = np.ones((4, 100), int)
    >>> dt = az.from_dict({"posterior": {"x": 1.0 * one}, "sample_stats": {"num_grad": one}})
    >>> short = thinned(dt, 30)
    >>> short.posterior.sizes["draw"], int(short.sample_stats.num_grad.sum())
    (25, 400)
    """
    num_draws = dt["posterior"].sizes["draw"]
    step = -(-num_draws // most)
    if step == 1:
        return dt
    # the last of each k draws stays, and the first window takes what is left over
    places = np.arange((num_draws - 1) % step, num_draws, step)
    first = np.concatenate([[0], places[:-1] + 1])
    groups: dict[str, xr.Dataset] = {}
    for name, node in dt.children.items():
        data = node.to_dataset()
        if name.startswith("warmup_") or "draw" not in data.dims:
            groups[name] = data
            continue
        short = data.isel(draw=places)
        for counted in SUMMED & set(map(str, data.data_vars)):
            values = data[counted].transpose("chain", "draw").values
            sums = np.add.reduceat(values, first, axis=1)
            short[counted] = (("chain", "draw"), sums)
        groups[name] = short
    whole = xr.DataTree.from_dict(groups)
    whole.attrs.update(dt.attrs)
    whole.attrs["thinning"] = int(dt.attrs.get("thinning", 1)) * step
    return whole
