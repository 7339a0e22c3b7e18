"""Which chains are stuck: far below the others, or refused at every step.

Across chains of one mode the log density varies by about `sqrt(dim / 2)`, as on a Gaussian, or by
more on a target of heavy tails or of a funnel's shape. A chain is far below if, in the order of
the log densities,

* a gap separates it from the chains above it, of more than `MAX_GAP` times the spread of those
  (their standard deviation, at least `sqrt(dim / 2)`), if they are at least a tenth of the chains;
* or it is more than `MAX_DEPTH dim` below their .9 quantile, gap or not.

The first rule finds chains in a mode of far lower density, in any dimension. Chains in modes that
differ in log density by less than the gap are left where they are.

A chain is frozen if it accepted next to nothing in a window in which the chains accepted well on
average: where it is, the shared step size is far too long, whatever its log density.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from numpyro_score.adaptation.order import ascending

MAX_GAP = 10.0
"""Gap in log density below chains, in units of their spread, that separates others from them."""
MAX_DEPTH = 10.0
"""Depth in log density, per dimension, below which a chain counts as stuck without a gap."""
QUANTILE = 0.9
"""Quantile of the log densities to which a chain's distance is measured."""
LEAST_RISE = 0.1
"""Smallest rise in a window, as a share of the distance to the others, of a rising chain."""

FROZEN = 0.02
"""Mean acceptance rate in a window below which a chain is frozen, if others accept."""
ACCEPTING = 0.2
"""Mean acceptance rate of all chains from which one below `FROZEN` is an exception."""
LEAST_WINDOW = 10
"""Steps of a window below which nothing is said of the acceptance of a single chain."""

_DEEP = 1e15
"""What stands for an infinite depth: its square is finite in float32."""


class Depths(NamedTuple):
    """How far each chain is below the best of them; large where the log density is no number."""

    depth: Float[Array, " chain"]
    ordered: Float[Array, " chain"]

    @property
    def of_good(self) -> Float[Array, ""]:
        """Depth of the lowest of the good chains."""
        return self.ordered[int((1 - QUANTILE) * (self.ordered.size - 1))]

    @property
    def median(self) -> Float[Array, ""]:
        """Depth of the chain in the middle; of two, of the one of higher log density."""
        return self.ordered[(self.ordered.size - 1) // 2]


def depths(logdensity: Float[Array, " chain"]) -> Depths:
    """Depths of the chains, sorted once for all the rules.

    Parameters
    ----------
    logdensity
        Log density of each chain's position, shape `(chain,)`.
    """
    level = jnp.where(jnp.isfinite(logdensity), logdensity, -jnp.inf)
    best = jnp.max(level)
    depth = jnp.where(jnp.isfinite(level), jnp.where(jnp.isfinite(best), best, 0.0) - level, _DEEP)
    depth = jnp.minimum(depth, _DEEP)
    return Depths(depth, ascending(depth))


def far_below(of: Depths, dim: int) -> Bool[Array, " chain"]:
    """Chains far below the others; never all of them.

    Parameters
    ----------
    of
        The chains' depths; what has no log density is far below.
    dim
        Number of coordinates.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> far_below(depths(jnp.array([0.0, -1.0, -2.0, -1.5, -42.0])), dim=8).tolist()
    [False, False, False, False, True]
    >>> far_below(depths(jnp.array([0.0, -8.0, -16.0, -24.0, -32.0])), dim=8).tolist()
    [False, False, False, False, False]
    """
    depth, ordered = of
    num_chains = depth.size
    if num_chains == 1:
        return jnp.zeros(1, bool)
    is_far = depth > of.of_good + MAX_DEPTH * dim
    above = jnp.arange(1, num_chains)
    count = above.astype(depth.dtype)
    mean = jnp.cumsum(ordered)[:-1] / count
    square = jnp.cumsum(ordered**2)[:-1] / count
    spread = jnp.sqrt(jnp.maximum(square - mean**2, dim / 2))
    is_gap = jnp.diff(ordered) > MAX_GAP * spread
    is_gap &= above >= math.ceil((1 - QUANTILE) * num_chains)
    first = jnp.where(jnp.any(is_gap), ordered[jnp.argmax(is_gap) + 1], jnp.inf)
    return is_far | (depth >= first)


def is_arriving(
    before: Float[Array, " chain"], now: Float[Array, " chain"], of: Depths
) -> Bool[Array, " chain"]:
    """Chains whose log density rose by at least a tenth of their distance to the others.

    Parameters
    ----------
    before, now
        Log density of each chain at the start and at the end of a window, shape `(chain,)`.
    of
        The depths at its end.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> before, now = jnp.array([-1.0, -1e4, -500.0]), jnp.array([0.0, -200.0, -499.0])
    >>> is_arriving(before, now, depths(now)).tolist()
    [True, True, False]
    """
    distance = jnp.maximum(of.depth - of.of_good, 0.0)
    # a chain that had no density, and has none, does not rise
    return jnp.isfinite(now) & (now - before >= LEAST_RISE * distance)


def is_frozen(accepted: Float[Array, " chain"], num_steps: Int[Array, ""]) -> Bool[Array, " chain"]:
    """Chains that accepted next to nothing where the others did; never all of them.

    Parameters
    ----------
    accepted
        Sum of each chain's acceptance rates in a window, shape `(chain,)`.
    num_steps
        Steps of the window.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> is_frozen(jnp.array([18.0, 0.01, 12.0]), jnp.array(20)).tolist()
    [False, True, False]
    >>> is_frozen(jnp.array([0.02, 0.01, 0.03]), jnp.array(20)).tolist()
    [False, False, False]
    """
    rate = accepted / jnp.maximum(num_steps, 1)
    is_known = (num_steps >= LEAST_WINDOW) & (jnp.mean(rate) >= ACCEPTING)
    return (rate < FROZEN) & is_known
