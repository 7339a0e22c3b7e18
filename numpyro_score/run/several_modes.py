"""Whether a run is of several modes between which its kernel does not jump.

The shares of such modes are those of the basins in which its chains started. Two things tell:

* While few draws are effective, most chains stay in one of several modes (`diagnostics/modes.py`)
  of comparable mass. Modes between which chains jump are left to the effective sample size, and
  those of far less mass, which chains have yet to leave, to the kernels that mix faster.
* Short chains from dispersed starts ended where the run has no draws (`elsewhere.py`).

Nothing is said where learning to jump would take too long (`MAX_ELEMENTS`); the run then warns at
its end.
"""

import warnings

import numpy as np
import xarray as xr
from jaxtyping import Bool

from numpyro_score.diagnostics.elsewhere import MIN_FOUND
from numpyro_score.run.check import PACKAGE
from numpyro_score.run.density import Positions
from numpyro_score.run.forecast import Seen, slow
from numpyro_score.run.mass import is_comparable, log_mass

MAX_DRAWS = 5_000
"""Draws of all chains that are looked at."""

MAX_ELEMENTS = 2_000_000
"""Elements that the operations of one gradient make, at most. `GlobalLocal` explores with .3 to 1.1
million gradients: ten minutes on two cores with so many, such as a mixture of two components for
20,000 observations. No one who waits for a short run should wait for longer."""


def several_modes(seen: Seen) -> str:
    """Whether the run is of several modes, or lacks some.

    Returns
    -------
    str
        What was found, or nothing.

    Warns
    -----
    UserWarning
        If looking fails, which costs none of the draws.
    """
    lacks_modes = seen.num_elsewhere >= MIN_FOUND
    if seen.density is None or not (lacks_modes or slow(seen)):
        return ""
    try:
        if seen.density.num_elements > MAX_ELEMENTS:
            return ""
        if lacks_modes:
            num = seen.num_elsewhere
            return f"{num} short chains from dispersed starts ended in modes that the run lacked"
        num_draws = max(MAX_DRAWS // seen.num_chains, 1)
        num_modes = num_separate(seen.density.positions(seen.samples, num_draws))
    except Exception as error:
        warnings.warn(
            f"whether chains stay in different modes was not looked at, since that failed ({error})"
            "; the run goes on",
            skip_file_prefixes=(PACKAGE,),
        )
        return ""
    return f"chains stayed in {num_modes} different modes" if num_modes > 1 else ""


def num_separate(of: Positions) -> int:
    """Modes of comparable mass in which chains stay, if most chains stay in one; else 1.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(8, 100, 1))
    >>> height, moved = -0.5 * x[..., 0] ** 2, x + 20 * (np.arange(8) % 2)[:, None, None]
    >>> num_separate(Positions(x, height)), num_separate(Positions(moved, height))
    (1, 2)
    """
    # finds clusters with scikit-learn
    from numpyro_score.diagnostics.modes import modes

    data = xr.Dataset({"x": (("chain", "draw", "coordinate"), of.points)})
    stays = modes(xr.DataTree.from_dict({"posterior": data})).chain_occupancy.values == 1.0
    if 2 * stays.any(axis=1).sum() <= len(stays):
        return 1
    masses = np.array([_log_mass(of, is_in) for is_in in stays.T if is_in.any()])
    return int(is_comparable(masses, masses.max(), of.points.shape[2]).sum())


def _log_mass(of: Positions, is_in: Bool[np.ndarray, " chain"]) -> float:
    """Of the mode in which these chains stay."""
    return log_mass(Positions(of.points[is_in], of.logdensity[is_in]))
