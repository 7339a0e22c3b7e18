"""The verdict on a run, by R-hat and effective sample sizes.

The limits are those of Vehtari, Gelman, Simpson, Carpenter and Bürkner, Rank-normalization,
folding, and localization: An improved R-hat (Bayesian Analysis 16, 2021, arXiv:1903.08008): R-hat
at most 1.01, and bulk and tail effective sample sizes of at least 100 per chain.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import xarray as xr
from numpyro.infer import MCMC

from numpyro_score.diagnostics.convergence import convergence
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.posterior import num_divergent

RHAT_MAX = 1.01
"""R-hat above which chains are said to disagree."""

RHAT_NEAR = 1.05
"""R-hat up to which a longer run is the first thing to try."""

ESS_PER_CHAIN = 100
"""Effective draws per chain below which ESS and R-hat are themselves unreliable."""

INDEPENDENT = "independent_draws"
"""Attribute of the root: 1 where draws are independent, as those of a finite-time sampler."""


def draws_needed(num_draws: int, ess: float, ess_needed: float | int) -> int:
    """Draws per chain after which the effective sample size suffices, to two digits, rounded up.

    Effective draws grow in proportion to the draws of chains that mix.

    Parameters
    ----------
    num_draws
        Draws of each chain so far.
    ess, ess_needed
        Effective sample size of these, and what is recommended.

    Examples
    --------
    >>> draws_needed(500, 3100.0, 10_000), draws_needed(500, 99.0, 100)
    (1700, 510)
    """
    exact = num_draws * ess_needed / ess
    unit = 10 ** max(math.floor(math.log10(exact)) - 1, 0)
    return math.ceil(exact / unit) * unit


@final
@dataclass(frozen=True)
class Verdict:
    """The verdict on one run.

    Attributes
    ----------
    num_chains, num_draws
        Size of the posterior.
    num_parameters, num_constant, num_nonfinite
        Scalars in all, those constant up to rounding, those with a draw that is not finite.
    num_stuck_chains
        Chains that never moved.
    rhat_max, ess_bulk_min, ess_tail_min
        Worst over the scalars; NaN where it cannot be computed.
    num_divergent
        Draws marked as divergent; None where the sampler does not say.
    is_exact
        Whether the sampler leaves the target invariant; None where it does not say.
    is_complete
        Whether the run was completed.
    is_independent
        Whether the sampler says that its draws do not depend on each other.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> dt = az.from_dict({"posterior": {"x": x}})
    >>> verdict = judge(dt)
    >>> verdict.is_converged, verdict.rhat_max < 1.01, verdict.ess_needed
    (True, True, 400)
    """

    num_chains: int
    num_draws: int
    num_parameters: int
    num_constant: int
    num_nonfinite: int
    num_stuck_chains: int
    rhat_max: float
    ess_bulk_min: float
    ess_tail_min: float
    num_divergent: int | None
    is_exact: bool | None
    is_complete: bool
    is_independent: bool = False

    @property
    def is_approximate(self) -> bool:
        """Whether the sampler is known not to leave the target invariant."""
        return self.is_exact is False

    @property
    def ess_min(self) -> float:
        """The smaller of the worst bulk and the worst tail effective sample size."""
        return float(np.minimum(self.ess_bulk_min, self.ess_tail_min))

    @property
    def ess_needed(self) -> int:
        """Effective sample size that is recommended, `ESS_PER_CHAIN` per chain."""
        return ESS_PER_CHAIN * self.num_chains

    @property
    def has_mixed(self) -> bool:
        """Whether the chains agree; False where that cannot be tested."""
        # NaN compares as False
        return self.num_nonfinite == 0 and self.rhat_max <= RHAT_MAX

    @property
    def has_enough_draws(self) -> bool:
        """Whether the effective sample sizes suffice; False where they cannot be computed."""
        return self.num_nonfinite == 0 and self.ess_min >= self.ess_needed

    @property
    def is_converged(self) -> bool:
        """Whether chains agree and draws suffice. Biased samplers can converge too."""
        return self.has_mixed and self.has_enough_draws


def _worst(values: xr.DataArray, *, largest: bool = False) -> float:
    known = values.values[~np.isnan(values.values)]
    if not known.size:
        return math.nan
    return float(known.max() if largest else known.min())


def judge(dt: xr.DataTree | MCMC | FlatDraws, table: xr.Dataset | None = None) -> Verdict:
    """The verdict on a run, by R-hat and effective sample sizes.

    Parameters
    ----------
    dt
        Draws: a tree of any origin, a fitted `numpyro.infer.MCMC`, or what `flatten` made of them.
        The root's attributes `exact`, `complete` and `independent_draws` are read if present.
    table
        `convergence(dt)` or `mixing(dt)`, if already computed.

    Raises
    ------
    ValueError
        If there is no posterior.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> draws = np.random.default_rng(0).normal(size=(4, 500))
    >>> judge(az.from_dict({"posterior": {"x": draws}})).is_converged
    True
    >>> draws[0] += 1.0  # one chain elsewhere
    >>> judge(az.from_dict({"posterior": {"x": draws}})).has_mixed
    False
    """
    draws = flatten(dt)
    tree = draws.dt
    table = convergence(draws) if table is None else table
    stats = tree["sample_stats"].data_vars if "sample_stats" in tree.children else {}
    return Verdict(
        num_chains=draws.num_chains,
        num_draws=draws.num_draws,
        num_parameters=table.sizes["parameter"],
        num_constant=int(table.is_constant.sum()),
        num_nonfinite=int((~table.is_finite).sum()),
        num_stuck_chains=len(table.attrs["frozen_chains"]),
        rhat_max=_worst(table.rhat, largest=True),
        ess_bulk_min=_worst(table.ess_bulk),
        ess_tail_min=_worst(table.ess_tail),
        num_divergent=num_divergent(stats),
        is_exact=bool(tree.attrs["exact"]) if "exact" in tree.attrs else None,
        is_complete=bool(tree.attrs.get("complete", True)),
        is_independent=bool(tree.attrs.get(INDEPENDENT, False)),
    )
