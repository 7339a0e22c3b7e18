"""The draws of a run as diagnostics take them: flat, one row for each scalar, made once.

A posterior's variables have any shape; diagnostics are about single numbers. A scalar is labelled
as ArviZ labels it, `theta[Choate]`, and holds draws `(chain, draw)`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from numpyro.infer import MCMC

from numpyro_score.diagnostics.mcmc import tree_of
from numpyro_score.diagnostics.posterior import labels, posterior, warmup
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, effective_draws, quiet
from numpyro_score.groups import SAMPLE_DIMS

ROUNDING = 16
"""Range of a parameter, in units of the spacing of its floating-point type at its largest draw, up
to which it is constant but for rounding, as the diagonal of a correlation matrix is."""


def _flat(data: xr.Dataset) -> Float[np.ndarray, "parameter chain draw"]:
    """Every scalar as float64; the only copy of the draws that diagnostics make."""
    shape = data.sizes["chain"], data.sizes["draw"]
    parts = [
        data[name].transpose(*SAMPLE_DIMS, ...).values.reshape(*shape, -1)
        for name in data.data_vars
    ]
    values = np.empty((sum(part.shape[2] for part in parts), *shape))
    first = 0
    for part in parts:
        values[first : first + part.shape[2]] = np.moveaxis(part, 2, 0)
        first += part.shape[2]
    return values


def _spacing(data: xr.Dataset) -> Float[np.ndarray, " parameter"]:
    """Relative spacing of the floating-point type that each scalar is kept in; 0 of integers."""
    parts = [
        np.full(
            values[:, :].size // (data.sizes["chain"] * data.sizes["draw"]),
            np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0,
        )
        for values in data.data_vars.values()
    ]
    return np.concatenate(parts)


@final
@dataclass(frozen=True, eq=False)
class FlatDraws:
    """The scalars of a posterior, read once and shared by all diagnostics.

    Attributes
    ----------
    dt
        The tree that they come from.
    data
        Its posterior, variables of inner groups by their path.
    labels
        Of every scalar, `theta[Choate]`; labels may repeat.
    values
        Draws of every scalar, float64.

    Examples
    --------
    >>> import arviz as az
    >>> draws = flatten(az.from_dict({"posterior": {"x": np.ones((4, 100, 2))}}))
    >>> draws.labels, draws.values.shape, draws.is_constant.tolist()
    (['x[0]', 'x[1]'], (2, 4, 100), [True, True])
    """

    dt: xr.DataTree
    data: xr.Dataset
    labels: list[str]
    values: Float[np.ndarray, "parameter chain draw"]

    @property
    def num_chains(self) -> int:
        """Chains."""
        return self.values.shape[1]

    @property
    def num_draws(self) -> int:
        """Draws of each chain."""
        return self.values.shape[2]

    def rows(self, name: str) -> slice:
        """Where the scalars of a variable are.

        Raises
        ------
        ValueError
            If the posterior lacks it.
        """
        first = 0
        for other, values in self.data.data_vars.items():
            last = first + values.size // (self.num_chains * self.num_draws)
            if other == name:
                return slice(first, last)
            first = last
        raise ValueError(
            f"the posterior lacks {name}; it has {', '.join(map(str, self.data.data_vars))}"
        )

    @cached_property
    def is_finite(self) -> Bool[np.ndarray, " parameter"]:
        """Whether all draws of a scalar are finite."""
        return np.array([bool(np.isfinite(scalar).all()) for scalar in self.values])

    @cached_property
    def never_changes(self) -> Bool[np.ndarray, " parameter"]:
        """Whether all draws of a scalar are the same."""
        return self.is_finite & np.array([bool(np.ptp(scalar) == 0) for scalar in self.values])

    @cached_property
    def is_constant(self) -> Bool[np.ndarray, " parameter"]:
        """Whether all draws of a scalar are the same up to rounding."""
        spacing = _spacing(self.data)
        flags = self.never_changes.copy()
        for place in np.flatnonzero(self.is_finite & ~flags & (spacing > 0)):
            scalar = self.values[place]
            largest = max(abs(scalar.max()), abs(scalar.min()))
            flags[place] = np.ptp(scalar) <= ROUNDING * spacing[place] * largest
        return flags

    @cached_property
    def is_whole(self) -> Bool[np.ndarray, " parameter"]:
        """Whether all draws of a scalar are whole numbers."""
        return np.array([bool((scalar == np.round(scalar)).all()) for scalar in self.values])

    @cached_property
    def has_moved(self) -> Bool[np.ndarray, "chain step"]:
        """Whether a chain's draw differs from the one before it, in any scalar."""
        moved = np.zeros((self.num_chains, self.num_draws - 1), bool)
        with np.errstate(all="ignore"):
            for scalar in self.values[~self.is_constant]:
                moved |= scalar[:, 1:] != scalar[:, :-1]
        return moved

    @cached_property
    def frozen_chains(self) -> list[int]:
        """Numbers of the chains that never moved."""
        if self.num_draws < 2:
            return []
        frozen = ~self.has_moved.any(axis=1)
        return [int(chain) for chain in self.data.chain.values[frozen]]

    @cached_property
    def ess_bulk(self) -> Float[np.ndarray, " parameter"]:
        """Bulk effective sample size of every scalar; NaN where it cannot be computed."""
        reasons = self.skip_reasons(MIN_DRAWS)
        with quiet():
            return np.array(
                [
                    math.nan if reason else effective_draws(values, "bulk")
                    for values, reason in zip(self.values, reasons, strict=True)
                ]
            )

    @cached_property
    def warmup(self) -> tuple[Float[np.ndarray, "parameter chain draw"] | None, str]:
        """Warmup draws of the same scalars and "", or None and why they are not there."""
        early, reason = warmup(self.dt, self.data)
        return (None, reason) if early is None else (_flat(early), "")

    def with_warmup(self, place: int) -> Float[np.ndarray, "chain draw"]:
        """Draws of one scalar, those of the warmup before them."""
        early = self.warmup[0]
        if early is None:
            return self.values[place]
        return np.concatenate([early[place], self.values[place]], axis=1)

    def skip_reasons(self, min_draws: int) -> list[str]:
        """For every scalar, why no statistic of it is computed, or "".

        Parameters
        ----------
        min_draws
            Draws per chain that the statistic needs.
        """
        reasons = []
        for place in range(len(self.labels)):
            if not self.is_finite[place]:
                reasons.append("draws that are not finite")
            elif self.never_changes[place]:
                reasons.append("constant")
            elif self.is_constant[place]:
                reasons.append("constant up to rounding")
            elif self.num_draws < min_draws:
                reasons.append(f"fewer than {min_draws} draws per chain")
            else:
                reasons.append("")
        return reasons

    def select(self, places: Sequence[int], *, of_warmup: bool = False) -> xr.DataArray:
        """Draws of some scalars with dimensions `(parameter, chain, draw)`.

        Parameters
        ----------
        places
            Which scalars, in the order in which they are wanted.
        of_warmup
            Whether to take the warmup's draws.

        Returns
        -------
        Float64 values, the labels as coordinate `label`, chains and draws numbered from 0.

        Raises
        ------
        ValueError
            If the warmup is wanted and not there.
        """
        values = self.warmup[0] if of_warmup else self.values
        if values is None:
            raise ValueError(self.warmup[1])
        chosen = values[list(places)]
        return xr.DataArray(
            chosen,
            dims=("parameter", *SAMPLE_DIMS),
            coords={
                "label": ("parameter", [self.labels[place] for place in places]),
                "chain": np.arange(chosen.shape[1]),
                "draw": np.arange(chosen.shape[2]),
            },
        )


def flatten(draws: Any) -> FlatDraws:
    """The draws of a run, flat; what is flat already is returned as it is.

    Parameters
    ----------
    draws
        A DataTree of any origin, a fitted `numpyro.infer.MCMC`, or `FlatDraws`.

    Raises
    ------
    ValueError
        If there is no posterior, or no draws, or statistics of other chains.
    TypeError
        If it is something else.

    Examples
    --------
    >>> import arviz as az
    >>> draws = flatten(az.from_dict({"posterior": {"x": np.zeros((4, 100))}}))
    >>> flatten(draws) is draws
    True
    """
    if isinstance(draws, FlatDraws):
        return draws
    dt = tree_of(draws) if isinstance(draws, MCMC) else draws
    if not isinstance(dt, xr.DataTree):
        raise TypeError(
            f"draws must be an xarray DataTree as ArviZ makes it, or a fitted numpyro MCMC, got "
            f"{type(draws).__name__}; arviz.from_dict makes a tree of arrays (chain, draw, ...)"
        )
    data = posterior(dt).transpose(*SAMPLE_DIMS, ...)
    return FlatDraws(_matched(dt, data), data, list(labels(data)), _flat(data))


def _matched(dt: xr.DataTree, data: xr.Dataset) -> xr.DataTree:
    """The tree with the statistics of those chains and draws that its posterior has."""
    if "sample_stats" not in dt.children:
        return dt
    known = dt["sample_stats"].to_dataset()
    other = [dim for dim in SAMPLE_DIMS if known.sizes.get(dim, data.sizes[dim]) != data.sizes[dim]]
    if not other:
        return dt
    for dim in other:
        if dim not in known.indexes or not np.isin(data[dim].values, known[dim].values).all():
            raise ValueError(
                f"sample_stats has {known.sizes[dim]} entries along {dim!r}, and the posterior "
                f"{data.sizes[dim]} others; select the same of both, as dt.isel({dim}=...) does"
            )
    matched = dt.copy()
    matched["sample_stats"] = xr.DataTree(known.sel({dim: data[dim].values for dim in other}))
    return matched
