"""Reference draws: what is taken to be exact, as independent points."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from numpyro_score.diagnostics.autocorrelation import autocorrelation_time
from numpyro_score.diagnostics.discrepancy.positions import Points, side_by_side
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.groups import SAMPLE_DIMS
from numpyro_score.targets import Target

MAX_REFERENCE = 10_000
"""Reference draws that are used, or made where the target can make them."""

Reference = xr.DataTree | Mapping[str, Any]
"""Draws of another run, or independent draws: variable -> `(draw, *event)`."""


def spacing(tau: float) -> int:
    """The step of a thinning that leaves nearly independent draws.

    Of an autoregressive chain with time `tau`, draws `2 tau - 1` apart have a correlation of about
    `exp(-4)`.

    Examples
    --------
    >>> [spacing(tau) for tau in (1.0, 3.0, 19.0)]
    [1, 5, 37]
    """
    return max(round(2 * tau - 1), 1)


def longest_time(points: Points) -> float:
    """The longest autocorrelation time of a coordinate, at least 1; of what does not move, 1.

    Examples
    --------
    >>> round(longest_time(np.random.default_rng(0).normal(size=(4, 1000, 2))))
    1
    """
    taus = [
        float(autocorrelation_time(coordinate)[0].tau) for coordinate in points.T.swapaxes(1, 2)
    ]
    # NaN is left out
    return float(np.fmax.reduce([1.0, *taus]))


def read(
    reference: Reference | None,
    target: Target | None,
    draws: FlatDraws,
    num_compared: int,
    variables: Sequence[str] | None,
    seed: int,
) -> tuple[list[str], Float[np.ndarray, "draws dim"] | None, str]:
    """Reference draws as points of the variables that a posterior has too.

    Parameters
    ----------
    reference
        Draws, or None for the target's own.
    target
        Where they may come from.
    draws
        The draws that are compared with it.
    num_compared
        How many of them are.
    variables
        Which variables, or None for all that both have.
    seed
        Of the target's draws.

    Returns
    -------
    The variables; the draws, in no order, at most `MAX_REFERENCE`, and ""; or None and the reason.

    Raises
    ------
    ValueError
        If there is no variable that both have, or they are of different shapes, or a reference
        draw is not finite.
    """
    if reference is None:
        if target is None:
            return [], None, "it takes draws to compare with (reference=)"
        if not target.has_exact_draws:
            return [], None, f"{target.name} has no exact draws; give some (reference=)"
        num = min(2 * num_compared, MAX_REFERENCE)
        reference = target.sample(jax.random.key(seed), num)
    is_chains = isinstance(reference, xr.DataTree)
    known = flatten(reference if isinstance(reference, xr.DataTree) else _as_tree(reference))
    shared = [str(name) for name in draws.data.data_vars if name in known.data.data_vars]
    names = shared if variables is None else list(variables)
    if not names or set(names) - set(shared):
        raise ValueError(
            f"the reference has {_names(known)}, and the posterior {_names(draws)}: what is "
            "compared has to be in both"
        )
    for name in names:
        shapes = [one.data[name].shape[2:] for one in (draws, known)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{name} has shape {shapes[0]} in the posterior and {shapes[1]} in the reference"
            )
    points = side_by_side(known, names)
    if not np.isfinite(points).all():
        raise ValueError("the reference has draws that are not finite; leave them out")
    if is_chains:
        points = points[:, :: spacing(longest_time(points))]
    flat = points.reshape(-1, points.shape[-1])
    # whatever order they are in
    return names, np.random.default_rng(seed).permutation(flat)[:MAX_REFERENCE], ""


def _names(draws: FlatDraws) -> str:
    return ", ".join(map(str, draws.data.data_vars))


def _as_tree(draws: Mapping[str, Any]) -> xr.DataTree:
    """Draws `(draw, *event)` as one chain."""
    found = {}
    for name, values in draws.items():
        array = np.asarray(values)[None]
        if array.ndim < 2 or array.dtype.kind not in "biuf":
            raise ValueError(
                f"reference draws of {name} must be numbers of shape (draw, *event), got shape "
                f"{array.shape[1:]} of {array.dtype}"
            )
        dims = *SAMPLE_DIMS, *(f"{name}_{i}" for i in range(array.ndim - 2))
        found[name] = xr.Variable(dims, array)
    sizes = {array.shape[1] for array in found.values()}
    if len(sizes) != 1:
        raise ValueError(
            f"a reference needs variables with equally many draws, got {sorted(sizes) or 'none'}"
        )
    return xr.DataTree.from_dict({"posterior": xr.Dataset(found)})
