"""Points of an exploration that have arrived at the target, with their gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.learned.preparation import FlatLogDensity

FAR_BELOW = 10.0
"""A chain this many times the dimension below the median log density has not arrived."""


@eqx.filter_jit
def evaluate(
    logdensity_fn: FlatLogDensity, x: Float[Array, "num dim"]
) -> tuple[Float[Array, " num"], Float[Array, "num dim"]]:
    """Log densities and their gradients."""
    return jax.vmap(jax.value_and_grad(logdensity_fn))(x)


def usable(
    logdensity_fn: FlatLogDensity, groups: list[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Of each group the points that have arrived; log densities and gradients of all of them.

    Parameters
    ----------
    logdensity_fn
        Flat position -> log density.
    groups
        Points `(num, dim)` of each exploration.
    """
    x = jnp.asarray(np.concatenate(groups))
    logdensity, gradients = (np.asarray(values) for values in evaluate(logdensity_fn, x))
    is_finite = np.isfinite(logdensity) & np.isfinite(gradients).all(axis=1)
    parts = np.split(is_finite, np.cumsum([len(group) for group in groups])[:-1])
    values = np.split(logdensity, np.cumsum([len(group) for group in groups])[:-1])
    medians = [np.median(v[ok]) for v, ok in zip(values, parts, strict=True) if ok.any()]
    floor = max(medians, default=0.0) - FAR_BELOW * x.shape[1]
    keep = is_finite & (logdensity > floor)
    kept = np.split(keep, np.cumsum([len(group) for group in groups])[:-1])
    found = [group[ok] for group, ok in zip(groups, kept, strict=True)]
    return found, logdensity[keep], gradients[keep]
