"""Draws without their burn-in."""

import math

import xarray as xr

from numpyro_score.diagnostics.burn_in import burn_in
from numpyro_score.diagnostics.posterior import posterior
from numpyro_score.groups import SAMPLE_DIMS

ATTRIBUTE = "num_burn_in_dropped"
"""Attribute of the root that counts the draws that were dropped."""


def drop_burn_in(dt: xr.DataTree, num_draws: int | None = None) -> xr.DataTree:
    """The same draws without the first ones of every chain.

    They are dropped from every group that has the posterior's chains and draws (sample statistics,
    log likelihood, predictions); warmup groups stay as they are.

    Parameters
    ----------
    dt
        Draws, of any origin; left as it is.
    num_draws
        Draws of the posterior to drop from each chain; None for what `burn_in` recommends.

    Returns
    -------
    A new tree; its root's attribute `num_burn_in_dropped` counts what was dropped in all.

    Raises
    ------
    ValueError
        If there is no posterior, if the number is negative or leaves no draw, or if `burn_in`
        can recommend none.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> dt = az.from_dict({"posterior": {"x": x}})
    >>> drop_burn_in(dt).posterior.sizes["draw"], drop_burn_in(dt, 100).posterior.sizes["draw"]
    (1000, 900)
    """
    sizes = posterior(dt).sizes
    if num_draws is None:
        result = burn_in(dt)
        number = float(result.num_to_drop)
        if math.isnan(number):
            why = " ".join([*result.attrs["findings"], *result.attrs["notes"]])
            raise ValueError(
                f"no number of draws can be recommended: {why} Give num_draws to drop some anyway"
            )
        num_draws = int(number)
    if not 0 <= num_draws < sizes["draw"]:
        raise ValueError(
            f"num_draws must be at least 0 and leave some of the {sizes['draw']} draws of a chain, "
            f"got {num_draws}"
        )
    groups = {}
    for path, node in dt.subtree_with_keys:
        data = node.to_dataset()
        is_of_draws = all(data.sizes.get(dim) == sizes[dim] for dim in SAMPLE_DIMS)
        if is_of_draws and not path.startswith("warmup_"):
            data = data.isel(draw=slice(num_draws, None))
        groups["/" if path == "." else path] = data
    dropped = xr.DataTree.from_dict(groups, name=dt.name)
    dropped.attrs[ATTRIBUTE] = int(dt.attrs.get(ATTRIBUTE, 0)) + num_draws
    return dropped
