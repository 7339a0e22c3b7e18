"""Draws of a fitted `numpyro.infer.MCMC` as a DataTree."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from numpyro.infer import MCMC

from numpyro_score.groups import SAMPLE_DIMS

STATISTICS = {
    "accept_prob": "acceptance_rate",
    "diverging": "diverging",
    "potential_energy": "lp",
    "num_steps": "n_steps",
    "num_grad": "num_grad",
    "num_logdensity": "num_logdensity",
    "adapt_state.step_size": "step_size",
}
"""Extra field of NumPyro -> ArviZ's name of the statistic."""


def tree_of(mcmc: MCMC) -> xr.DataTree:
    """Draws and statistics of a fitted `MCMC`, and what its kernel says of itself.

    Parameters
    ----------
    mcmc
        After `run`.

    Raises
    ------
    ValueError
        If it has not run.

    Examples
    --------
    >>> from numpyro.infer import NUTS
    >>> mcmc = MCMC(
    ...     NUTS(potential_fn=lambda x: 0.5 * x**2),
    ...     num_warmup=50,
    ...     num_samples=20,
    ...     num_chains=2,
    ...     chain_method="sequential",
    ...     progress_bar=False,
    ... )
    >>> mcmc.run(jax.random.key(0), init_params=np.zeros(2))
    >>> tree_of(mcmc).posterior.x.shape
    (2, 20)
    """
    if mcmc.last_state is None:
        raise ValueError("the MCMC has not run and holds no draws; call its run method first")
    samples = mcmc.get_samples(group_by_chain=True)
    if not isinstance(samples, Mapping):
        leaves = jax.tree.leaves(samples)
        samples = {"x" if len(leaves) == 1 else f"x{i}": leaf for i, leaf in enumerate(leaves)}
    fields = mcmc.get_extra_fields(group_by_chain=True)
    statistics = {
        STATISTICS[name]: -np.asarray(values) if name == "potential_energy" else values
        for name, values in fields.items()
        if name in STATISTICS
    }
    groups = {"posterior": _dataset(samples)}
    if statistics:
        groups["sample_stats"] = _dataset(statistics)
    dt = xr.DataTree.from_dict(groups)
    dt.attrs["sampler"] = type(mcmc.sampler).__name__
    # said by kernels that know it, and not assumed of others
    if (exact := getattr(mcmc.sampler, "exact", None)) is not None:
        dt.attrs["exact"] = int(exact)
    if getattr(mcmc.sampler, "draws_are_independent", False):
        dt.attrs["independent_draws"] = 1
    return dt


def _dataset(values: Mapping[str, Any]) -> xr.Dataset:
    variables = {}
    for name, array in values.items():
        dims = (*SAMPLE_DIMS, *(f"{name}_dim_{i}" for i in range(np.ndim(array) - 2)))
        variables[name] = dims, np.asarray(array)
    data = xr.Dataset(variables)
    return data.assign_coords({dim: np.arange(size) for dim, size in data.sizes.items()})
