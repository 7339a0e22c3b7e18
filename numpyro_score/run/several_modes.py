"""Whether a run is of several modes between which its kernel does not jump.

The shares of such modes are those of the basins in which its chains started. Two things tell:

* Chains that stay in different modes (`diagnostics/modes.py`) while few draws are effective. Modes
  between which most chains jump are left to the effective sample size.
* Short chains from dispersed starts that ended where the run has no draws (`elsewhere.py`).
"""

from typing import Any

import jax
import numpy as np
import xarray as xr

from numpyro_score.diagnostics.elsewhere import MIN_FOUND
from numpyro_score.run.forecast import Seen, slow


def several_modes(seen: Seen) -> str:
    """Whether the run is of several modes, or lacks some.

    Returns
    -------
    str
        What was found, or nothing.
    """
    if seen.num_elsewhere >= MIN_FOUND:
        num = seen.num_elsewhere
        return f"{num} short chains from dispersed starts ended in modes that the run lacked"
    if not slow(seen):
        return ""
    num_modes = num_separate(seen.samples)
    return f"chains stayed in {num_modes} different modes" if num_modes > 1 else ""


def num_separate(samples: Any) -> int:
    """Modes in which chains stay, if most chains stay in one; else 1.

    Parameters
    ----------
    samples
        A pytree of draws, each `(chain, draw, ...)`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(8, 100))
    >>> num_separate({"x": x}), num_separate({"x": x + 20 * (np.arange(8) % 2)[:, None]})
    (1, 2)
    """
    from numpyro_score.diagnostics.modes import modes

    leaves = enumerate(jax.tree.leaves(samples))
    data = {str(i): (("chain", "draw", *_axes(i, x)), np.asarray(x)) for i, x in leaves}
    found = modes(xr.DataTree.from_dict({"posterior": xr.Dataset(data)}))
    stays = found.chain_occupancy.values == 1.0
    is_common = 2 * stays.any(axis=1).sum() > len(stays)
    return max(int(stays.any(axis=0).sum()), 1) if is_common else 1


def _axes(leaf: int, values: Any) -> list[str]:
    return [f"{leaf}_{axis}" for axis in range(2, np.ndim(values))]
