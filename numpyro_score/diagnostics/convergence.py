"""The table of R-hat and effective sample sizes; the numbers are those of `rhat_ess.py`."""

import xarray as xr
from numpyro.infer import MCMC

from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.rhat_ess import quiet, statistics


def all_statistics(draws: FlatDraws) -> list[dict[str, float | bool]]:
    """`statistics` of every scalar."""
    with quiet():
        return [
            statistics(
                values,
                is_finite=bool(draws.is_finite[place]),
                is_constant=bool(draws.is_constant[place]),
                ess_bulk=float(draws.ess_bulk[place]),
            )
            for place, values in enumerate(draws.values)
        ]


def convergence(dt: xr.DataTree | MCMC | FlatDraws) -> xr.Dataset:
    """R-hat and effective sample sizes of every scalar of the posterior.

    Parameters
    ----------
    dt
        Draws: a tree of any origin, a fitted `numpyro.infer.MCMC`, or what `flatten` made of them.

    Returns
    -------
    Dataset with dimension `parameter` (its coordinate the label, `theta[0]`) and variables
    `ess_bulk`, `ess_tail`, `rhat`, `mean`, `sd`, `is_finite`, `is_constant` (up to rounding). What
    cannot be computed is NaN: all three of a scalar that is constant or not finite or has fewer
    than 4 draws per chain, and R-hat of a single chain. The attribute `frozen_chains` lists the
    chains that never moved.

    Raises
    ------
    ValueError
        If there is no posterior.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> draws = np.random.default_rng(0).normal(size=(4, 500, 2))
    >>> table = convergence(az.from_dict({"posterior": {"x": draws}}))
    >>> table.parameter.values.tolist(), bool((table.rhat < 1.01).all())
    (['x[0]', 'x[1]'], True)
    """
    draws = flatten(dt)
    rows = all_statistics(draws)
    return xr.Dataset(
        {name: ("parameter", [row[name] for row in rows]) for name in rows[0]},
        coords={"parameter": draws.labels},
        attrs={"frozen_chains": draws.frozen_chains},
    )
