"""Expected coverage of credible regions of an amortised posterior, as ranks.

A region of credibility `c` should hold the true parameters of a share `c` of the data sets. For
highest-density regions that is the rank of the posterior's density at the truth among its values at
draws (expected coverage; Hermans et al. 2022, arXiv:2110.06581); for balls around a random point
that does not depend on the truth, the rank of its distance (TARP; Lemos et al. 2023,
arXiv:2302.03026). Each is one more quantity whose ranks are uniform for a calibrated posterior.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.calibration.refit import DrawsGivenData
from numpyro_score.targets.simulated import Values

DENSITY = "log_posterior"
"""Log density of the amortised posterior; the higher, the more credible."""

DISTANCE = "distance"
"""Distance from a random reference point; the lower, the more credible."""

NUM_SPREAD = 500
"""Draws of the prior from which the unit of each coordinate's distance is computed."""


class Regions(NamedTuple):
    """The two quantities whose ranks are those of credible regions.

    Attributes
    ----------
    posterior
        The amortised posterior.
    draw_prior
        `rng_key -> site -> value`: a reference point.
    spread
        Half the interquartile range of each site's coordinates under the prior.
    """

    posterior: DrawsGivenData
    draw_prior: Callable[[Any], Values]
    spread: Values

    def __call__(self, rng_key: Any, data: Values, values: Values) -> dict[str, Float[Array, ""]]:
        """Log density, and distance from the reference point that belongs to the key."""
        reference = self.draw_prior(rng_key)
        parts = [
            jnp.sum(((values[name] - reference[name]) / spread) ** 2)
            for name, spread in self.spread.items()
        ]
        density = self.posterior.log_prob({name: values[name] for name in self.spread}, data)
        return {DENSITY: density, DISTANCE: jnp.sqrt(sum(parts, start=jnp.zeros(())))}


def regions(
    posterior: DrawsGivenData,
    draw_prior: Callable[[Any], Values],
    names: tuple[str, ...],
    rng_key: Any,
) -> Regions:
    """The quantities, with units from draws of the prior.

    Parameters
    ----------
    posterior, draw_prior
        As in `Regions`.
    names
        Sites of the posterior.
    rng_key
        One key.
    """
    drawn = jax.jit(jax.vmap(draw_prior))(jax.random.split(rng_key, NUM_SPREAD))
    spread = {}
    for name in names:
        low, high = np.quantile(np.asarray(drawn[name]), (0.25, 0.75), axis=0)
        spread[name] = jnp.asarray(np.where(high > low, (high - low) / 2, 1.0), float)
    return Regions(posterior, draw_prior, spread)


def coverage(
    pit: Mapping[str, np.ndarray], levels: Float[np.ndarray, " level"]
) -> dict[str, Float[np.ndarray, " level"]]:
    """Share of data sets whose true parameters lie in the regions of each credibility.

    Parameters
    ----------
    pit
        Normalised ranks by quantity.
    levels
        Credibilities.

    Examples
    --------
    >>> coverage({DENSITY: np.array([0.9, 0.2]), DISTANCE: np.array([0.3, 0.6])}, np.array([0.5]))
    {'highest density': array([0.5]), 'TARP': array([0.5])}
    """
    found = {}
    for name, quantity in (("highest density", DENSITY), ("TARP", DISTANCE)):
        rank = pit[quantity][np.isfinite(pit[quantity])]
        # the regions that hold the truth are those of at least this credibility
        at = 1 - rank if quantity == DENSITY else rank
        found[name] = np.searchsorted(np.sort(at), levels, side="right") / len(at)
    return found
