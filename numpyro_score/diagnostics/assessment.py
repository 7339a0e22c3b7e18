"""All diagnostics of one run at once: what a page says about it, and a row of a comparison."""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import xarray as xr

from numpyro_score.diagnostics.burn_in import burn_in
from numpyro_score.diagnostics.discrepancy import discrepancy
from numpyro_score.diagnostics.discrepancy.reference import Reference
from numpyro_score.diagnostics.draws import posterior
from numpyro_score.diagnostics.errors import expectation_errors
from numpyro_score.diagnostics.mixing import mixing
from numpyro_score.diagnostics.modes import modes
from numpyro_score.diagnostics.rhat_ess import quiet
from numpyro_score.diagnostics.verdict import Verdict, judge
from numpyro_score.targets import Target


class Assessment(NamedTuple):
    """What the diagnostics say about a run.

    Attributes
    ----------
    verdict
        By R-hat and effective sample sizes.
    mixing
        As `mixing` returns it.
    burn_in, modes
        As the functions of these names return them; None where one failed.
    discrepancy
        As `discrepancy` returns it; None where there is nothing to compare with, or it failed.
    errors
        As `expectation_errors` returns it; empty where nothing is known.
    failures
        Diagnostic -> why it failed.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> dt = az.from_dict({"posterior": {"x": x}})
    >>> found = assess(dt)
    >>> found.verdict.is_converged, found.mixing.attrs["findings"], found.failures
    (True, [], {})
    """

    verdict: Verdict
    mixing: xr.Dataset
    burn_in: xr.Dataset | None
    modes: xr.Dataset | None
    discrepancy: xr.Dataset | None
    errors: pd.DataFrame
    failures: dict[str, str]


def assess(
    dt: xr.DataTree,
    target: Target | None = None,
    reference: Reference | None = None,
    *,
    with_discrepancy: bool = True,
) -> Assessment:
    """Everything that the diagnostics say about a run.

    Parameters
    ----------
    dt
        Draws, of any origin.
    target
        What they should be draws of.
    reference
        Draws that are known to be good, as `discrepancy` takes them.
    with_discrepancy
        Whether to compute distances from the target or the reference, which takes longest.

    Raises
    ------
    ValueError
        If there is no posterior, or it lacks a variable that an expectation of the target reads.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> found = assess(az.from_dict({"posterior": {"x": x}}))
    >>> found.verdict.is_converged, found.modes.attrs["num_modes"], found.failures
    (True, 1, {})
    """
    posterior(dt)
    failures: dict[str, str] = {}

    def attempt(name: str, make: Callable[[], xr.Dataset]) -> xr.Dataset | None:
        try:
            with quiet():
                return make()
        except Exception as error:
            # draws too odd for one diagnostic must not cost the others
            failures[name] = f"{type(error).__name__}: {error}"
            return None

    distances = None
    if with_discrepancy and (target is not None or reference is not None):
        distances = attempt(
            "distances", lambda: discrepancy(dt, target=target, reference=reference)
        )
    table = attempt("mixing", lambda: mixing(dt))
    if table is None:
        # numbers that a classifier cannot take
        with quiet():
            table = mixing(dt, with_rstar=False)
    stuck = table.longest_rejection >= max(table.attrs["num_draws"] - 1, 1)
    table = table.assign_attrs(num_stuck_chains=int(stuck.sum()))
    return Assessment(
        verdict=judge(dt, table),
        mixing=table,
        burn_in=attempt("burn-in", lambda: burn_in(dt)),
        modes=attempt("modes", lambda: modes(dt)),
        discrepancy=distances,
        errors=expectation_errors(dt, () if target is None else target.expectations),
        failures=failures,
    )
