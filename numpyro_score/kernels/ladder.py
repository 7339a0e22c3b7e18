"""The ladder of inverse temperatures between a reference and a target, `r^(1 - b) p^b`.

Parallel tempering exchanges replicas along it (Geyer 1991); sequential Monte Carlo goes through it
from the reference to the target (Del Moral, Doucet and Jasra 2006,
doi:10.1111/j.1467-9868.2006.00553.x). Log densities are added and scaled at each temperature, so a
value of -inf or NaN is replaced by a very low finite number.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LOWEST = -1e30
"""Replaces a log density of -inf or NaN: such a point has no weight at any temperature."""


class Ladder(NamedTuple):
    """Temperatures, with MALA's settings at each.

    Attributes
    ----------
    inverse_temperatures
        `(rung,)`, rising from 0 to 1.
    step_sizes
        `(rung,)`: step sizes of MALA; the first is not used.
    inverse_mass_matrices
        `(rung, dim)`: diagonals of the inverse mass matrices; the first is not used.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> betas = jnp.array([0.0, 0.2, 1.0])
    >>> ladder = Ladder(betas, jnp.full(3, 0.5), jnp.ones((3, 2)))
    >>> len(ladder.step_sizes)
    3
    """

    inverse_temperatures: Float[Array, " rung"]
    step_sizes: Float[Array, " rung"]
    inverse_mass_matrices: Float[Array, "rung dim"]


def finite(logdensity: Float[Array, ""]) -> Float[Array, ""]:
    """The log density, or `LOWEST` where it is not finite."""
    return jnp.where(jnp.isfinite(logdensity), logdensity, LOWEST)


def check_ladder(ladder: Ladder) -> None:
    """Refuse a ladder that does not rise from 0 to 1, or whose parts differ in length.

    Raises
    ------
    ValueError
        If the temperatures do not rise from 0 to 1, or the parts differ in length.
    """
    betas = np.asarray(ladder.inverse_temperatures)
    if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1:
        raise ValueError(
            f"inverse temperatures of shape {betas.shape} from {betas.flat[0]:g} to "
            f"{betas.flat[-1]:g}; give two or more, from 0 (the reference) to 1 (the target)"
        )
    if not (np.diff(betas) > 0).all():
        raise ValueError("inverse temperatures must rise from each to the next")
    lengths = [len(part) for part in ladder]
    if len(set(lengths)) > 1:
        raise ValueError(f"the ladder's parts have lengths {lengths}; one row for each temperature")
