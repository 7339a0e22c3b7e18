"""Superchains: groups of chains that started at one point, and the limit of nested R-hat.

Nested R-hat compares the means of superchains (Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari
and Gelman, Nested R-hat, Bayesian Analysis 2024, arXiv:2110.13017). Of `K` means of stationary
chains, each with `e` effective draws, `R-hat^2 - 1` is distributed as `chi2_{K-1} / ((K - 1) e)`,
far above 0 for few draws: the limit is the tolerance of R-hat plus the upper quantile of that.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy import stats

from numpyro_score.diagnostics.outcome import FALSE_ALARM
from numpyro_score.diagnostics.verdict import RHAT_MAX

ATTRIBUTE = "superchain_ids"
"""Attribute of the root that holds the number of each chain's superchain."""


def superchain_ids(
    dt: xr.DataTree, num_chains: int
) -> tuple[Int[np.ndarray, " chain"] | None, str]:
    """The superchain of every chain, or why there is none.

    Parameters
    ----------
    dt
        Draws, of any origin.
    num_chains
        Chains of its posterior.

    Returns
    -------
    The numbers, from 0, and ""; or None and the reason.

    Examples
    --------
    >>> dt = xr.DataTree()
    >>> superchain_ids(dt, 4)[0] is None
    True
    >>> dt.attrs["superchain_ids"] = [7, 7, 9, 9]
    >>> superchain_ids(dt, 4)[0].tolist()
    [0, 0, 1, 1]
    """
    if ATTRIBUTE not in dt.attrs:
        return None, "no superchains are recorded"
    ids = np.atleast_1d(np.asarray(dt.attrs[ATTRIBUTE]))
    if ids.shape != (num_chains,):
        return None, f"{ids.size} superchain ids are recorded for {num_chains} chains"
    _, places, counts = np.unique(ids, return_inverse=True, return_counts=True)
    if counts.size < 2 or counts.min() != counts.max():
        return None, "nested R-hat needs at least 2 superchains of equally many chains"
    return places.astype(int), ""


def rhat_limit(
    num_groups: int, effective_each: Float[np.ndarray, "*batch"] | float, num_tests: int = 1
) -> Float[np.ndarray, "*batch"]:
    """(Nested) R-hat that stationary chains of some length exceed by chance only.

    Parameters
    ----------
    num_groups
        Means that are compared: superchains, or twice the chains for split R-hat. At least 2.
    effective_each
        Effective draws behind each of them.
    num_tests
        Parameters that are looked at, of which none is to exceed it by chance.

    Examples
    --------
    >>> rhat_limit(4, np.array([16.0, 1e5])).round(2).tolist()  # chains of one draw, or many
    [1.13, 1.01]
    """
    noise = stats.chi2.isf(FALSE_ALARM / num_tests, num_groups - 1) / (num_groups - 1)
    return np.asarray(np.sqrt(RHAT_MAX**2 + noise / np.maximum(effective_each, 1.0)))
