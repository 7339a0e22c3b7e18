"""One pass over the draws of a run: what moved, R-hat of the worst, and how early draws differ."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Bool, Float, Shaped

from numpyro_score.diagnostics.apart import num_apart
from numpyro_score.diagnostics.autocorrelation import autocorrelation_time
from numpyro_score.diagnostics.draws import ROUNDING
from numpyro_score.diagnostics.drift import MIN_CHAINS, MIN_SHIFT, drifts
from numpyro_score.diagnostics.drift import MIN_DRAWS as MIN_DRAWS_OF_DRIFT
from numpyro_score.diagnostics.halves import as_chains
from numpyro_score.diagnostics.rhat_ess import MIN_DRAWS, quiet
from numpyro_score.diagnostics.tail_acceptance import Tail, rejecting
from numpyro_score.groups import SAMPLE_DIMS

MAX_RHATS = 32
"""Parameters whose R-hat is computed: those whose chains differ most in location or spread."""

BLOCK = 1_000_000
"""Numbers that are looked at in one go."""

MAX_DRAWS = 4_000
"""Draws of all chains that are looked at, evenly spaced."""

MIN_PER_CHAIN = 50
"""Fewest draws of each chain that are looked at, if it has so many."""

FINER = 5
"""Most draws whose tails are examined, in units of those that R-hat is computed from."""

MAX_NUMBERS = 20_000_000
"""Most numbers whose tails are examined: with many parameters, of fewer draws."""


class _Block(NamedTuple):
    """Some parameters of one variable: their places in it, their draws, and relative rounding."""

    name: str
    places: Shaped[np.ndarray, " parameter"]
    values: Float[np.ndarray, "parameter chain draw"]
    spacing: float


def _blocks(data: xr.Dataset, step: int) -> Iterator[_Block]:
    for name, variable in data.data_vars.items():
        # a variable at a time: a store is read no faster than it has to be
        values = variable.transpose(*SAMPLE_DIMS, ...).isel(draw=slice(None, None, step)).values
        flat = values.reshape(*values.shape[:2], -1)
        size = max(BLOCK // (flat.shape[0] * flat.shape[1]), 1)
        for first in range(0, flat.shape[2], size):
            part = flat[:, :, first : first + size].astype(np.float64)
            places = np.arange(first, first + part.shape[2])
            spacing = float(np.finfo(flat.dtype).eps) if flat.dtype.kind == "f" else 0.0
            yield _Block(str(name), places, np.moveaxis(part, 2, 0), spacing)


def _spread(values: Float[np.ndarray, "parameter chain draw"]) -> Float[np.ndarray, " parameter"]:
    """How much chains differ in location or spread: to find the worst, not to judge them."""

    def between(x: Float[np.ndarray, "parameter chain draw"]) -> Float[np.ndarray, " parameter"]:
        within = x.var(axis=-1).mean(axis=-1)
        return x.mean(axis=-1).var(axis=-1) / np.maximum(within, np.finfo(float).tiny)

    folded = np.abs(values - np.median(values, axis=(1, 2), keepdims=True))
    return np.maximum(between(values), between(folded))


class Scan(NamedTuple):
    """What one pass over the draws found."""

    has_moved: Bool[np.ndarray, " chain"]
    nonfinite: list[tuple[str, int]]
    rhats: list["Rhat"]
    num_varying: int
    drifts: list["Drift"]
    tails: list["TailOf"]


class TailOf(NamedTuple):
    """A tail in which proposals are rejected: its variable, and the parameter's place in it."""

    tail: Tail
    name: str
    place: int


class Drift(NamedTuple):
    """A parameter whose early draws shift its mean: by how many standard errors they differ."""

    distance: float
    name: str
    place: int


class Rhat(NamedTuple):
    """R-hat of one parameter, and what else its thinned draws show.

    Attributes
    ----------
    value
        R-hat.
    tau
        Autocorrelation time.
    name, place
        Its variable, and where it is in it.
    num_apart
        Chains in the smaller of two groups that stay apart from each other, 0 if none do.
    """

    value: float
    tau: float
    name: str
    place: int
    num_apart: int = 0


def _tau(values: Float[np.ndarray, "chain draw"]) -> float:
    """Autocorrelation time, corrected for taking each chain around its own mean (Wolff 2004)."""
    time, _ = autocorrelation_time(values)
    lags = 2 * float(time.window) + 1
    return float(time.tau) * (1 + min(lags / values.shape[1], 1.0))


def strides(data: xr.Dataset) -> tuple[int, int]:
    """`step` and `part` of `scan`, by the size of a posterior.

    Examples
    --------
    >>> strides(xr.Dataset({"x": (SAMPLE_DIMS, np.zeros((4, 10_000)))}))
    (10, 5)
    """
    num_chains, num_draws = data.sizes["chain"], data.sizes["draw"]
    step = max(min(num_chains * num_draws // MAX_DRAWS, num_draws // MIN_PER_CHAIN), 1)
    num_numbers = sum(values.size for values in data.data_vars.values()) // step
    part = max(min(FINER, step, MAX_NUMBERS // max(num_numbers, 1)), 1)
    return step // part * part, part


def scan(
    data: xr.Dataset,
    step: int,
    num_kept: int,
    part: int = 1,
    acceptance: Float[np.ndarray, "chain finer"] | None = None,
) -> Scan:
    """What moved, what is not finite, and R-hat of the parameters whose chains differ most.

    Of one chain its halves count as two chains.

    Parameters
    ----------
    data
        The posterior.
    step, num_kept
        Every `step`-th draw is looked at, so many of each chain.
    part
        A divisor of `step`: tails are those of every `step / part`-th draw.
    acceptance
        Acceptance probabilities of the steps that ended at those draws; None if tails are not to be
        examined.
    """
    num_chains = data.sizes["chain"]
    has_moved = np.zeros(num_chains, bool)
    nonfinite: list[tuple[str, int]] = []
    worst: list[tuple[float, str, int, Any]] = []
    num_varying = 0
    drifting: list[Drift] = []
    tails: list[TailOf] = []
    looks_for_drifts = num_chains >= MIN_CHAINS and data.sizes["draw"] >= MIN_DRAWS_OF_DRIFT
    for block in _blocks(data, step // part):
        values = block.values[..., ::part]
        is_finite = np.isfinite(values).all(axis=(1, 2))
        nonfinite += [(block.name, int(place)) for place in block.places[~is_finite]]
        with np.errstate(all="ignore"):
            has_moved |= (np.diff(values, axis=2) != 0).any(axis=(0, 2))
        with np.errstate(all="ignore"):
            rounding = ROUNDING * block.spacing * np.abs(values).max(axis=(1, 2))
            varies = is_finite & (np.ptp(values, axis=(1, 2)) > rounding)
        num_varying += int(varies.sum())
        if acceptance is not None:
            varying = block.places[varies]
            found_here = rejecting(block.values[varies], acceptance)
            tails += [TailOf(one, block.name, int(varying[one.place])) for one in found_here]
        if num_kept < (2 * MIN_DRAWS if num_chains == 1 else MIN_DRAWS) or not varies.any():
            continue
        kept, places = as_chains(values[varies]), block.places[varies]
        if looks_for_drifts:
            found = drifts(kept)
            drifting += [
                Drift(float(abs(found.first[i])), block.name, int(places[i]))
                for i in np.flatnonzero(np.abs(found.shift) > MIN_SHIFT)
            ]
        with np.errstate(all="ignore"):
            spread = np.nan_to_num(_spread(kept))
        chosen = np.argsort(-spread, kind="stable")[:MAX_RHATS]
        worst += [(float(spread[i]), block.name, int(places[i]), kept[i]) for i in chosen]
        worst = sorted(worst, key=lambda one: -one[0])[:MAX_RHATS]
    with quiet():
        rhats = [
            Rhat(float(array_stats.rhat(x)), _tau(x), name, place, num_apart(x))
            for _, name, place, x in worst
        ]
    worst_first = sorted(drifting, reverse=True)
    worst_rhats = sorted(rhats, reverse=True)
    return Scan(has_moved, nonfinite, worst_rhats, num_varying, worst_first, sorted(tails))
