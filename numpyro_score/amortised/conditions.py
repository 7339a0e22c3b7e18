"""Data as a vector: summaries, coordinates with heavy tails, and distance from the simulations."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

HEAVY = 8.0
"""A coordinate has heavy tails if a simulation is further from the median than this, in units of
half the interquartile range."""


def by_site(names: Sequence[str], data: Any) -> dict[str, Any]:
    """The named data, of a dict that has them, or of an array where there is one name.

    Raises
    ------
    ValueError
        If data are missing.
    """
    if not isinstance(data, Mapping):
        if len(names) != 1:
            raise ValueError(f"the data are {', '.join(names)}; give a dict of them")
        data = {names[0]: data}
    missing = [name for name in names if name not in data]
    if missing:
        raise ValueError(f"the data lack {', '.join(missing)}; give {', '.join(names)}")
    return {name: data[name] for name in names}


def as_vector(data: Mapping[str, Any], summary: Callable[..., Any] | None) -> Float[Array, " size"]:
    """The summary of data, or all their numbers in the order of the sites' names."""
    found = dict(data) if summary is None else summary(dict(data))
    leaves = [jnp.ravel(jnp.asarray(x)) for x in jax.tree.leaves(found)]
    return jnp.concatenate(leaves).astype(jnp.result_type(float))


@final
class Scaling(eqx.Module):
    """Robust standardisation of conditions, with `arcsinh` of coordinates that have heavy tails.

    Attributes
    ----------
    middle, spread
        Median, and half the interquartile range, of the simulations.
    is_heavy
        1 for coordinates that are transformed by `arcsinh`, else 0.
    lowest, highest
        Smallest and largest standardised values of the simulations.
    """

    middle: Float[Array, " size"]
    spread: Float[Array, " size"]
    is_heavy: Float[Array, " size"]
    lowest: Float[Array, " size"]
    highest: Float[Array, " size"]

    @classmethod
    def of(cls, conditions: Float[np.ndarray, "num size"]) -> "Scaling":
        """The standardisation of simulated conditions."""
        low, middle, high = np.quantile(conditions, (0.25, 0.5, 0.75), axis=0)
        spread = (high - low) / 2
        spread = np.where(spread > 0, spread, np.maximum(conditions.std(axis=0), 1e-30))
        away = np.abs(conditions - middle) / spread
        is_heavy = (away.max(axis=0) > HEAVY).astype(float)
        none = np.zeros_like(middle)
        rows = [jnp.asarray(x, float) for x in (middle, spread, is_heavy, none, none)]
        first = cls(*rows)
        scaled = jax.vmap(first)(jnp.asarray(conditions, first.middle.dtype))
        ends = jnp.min(scaled, axis=0), jnp.max(scaled, axis=0)
        return cls(rows[0], rows[1], rows[2], *ends)

    def __call__(self, condition: Float[Array, " size"]) -> Float[Array, " size"]:
        """A standardised condition."""
        x = (condition - self.middle) / self.spread
        return jnp.where(self.is_heavy > 0, jnp.arcsinh(x), x)

    def warn_if_outside(self, scaled: Any) -> None:
        """Warn of data outside of the range of the simulations, unless traced."""
        if isinstance(scaled, jax.core.Tracer):
            return
        over = np.maximum(
            np.asarray(self.lowest) - np.asarray(scaled), np.asarray(scaled) - self.highest
        )
        width = np.maximum(np.asarray(self.highest - self.lowest), 1e-30)
        share = np.asarray(over) / width
        if share.max() > 0:
            where = int(np.argmax(share))
            warnings.warn(
                f"{int((share > 0).sum())} of {len(share)} coordinates of the data lie outside of "
                f"all simulations, coordinate {where} by {share[where]:.2f} of their range: the "
                "amortised posterior is an extrapolation. Use as_kernel, which is exact, or "
                "simulate from a wider prior.",
                stacklevel=4,
            )
