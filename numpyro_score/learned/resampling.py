"""What the next training uses: weighted draws of a proposal, in which no region is lost.

A network that is not yet good may draw nothing in a region that the exploration found. Training on
its draws alone would forget the region for good. Earlier particles of such a region stay.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.learned.regions import LEAST_SHARE, assign
from numpyro_score.types import RngKey


def truncated(log_weights: Float[np.ndarray, " num"]) -> Float[np.ndarray, " num"]:
    """Importance weights of sum 1, none above `sqrt(num)` times their mean before.

    Ionides 2008, doi:10.1198/106186008X320456.

    Parameters
    ----------
    log_weights
        Of any constant factor, one of them finite.
    """
    weights = np.exp(log_weights - log_weights.max())
    weights = np.minimum(weights, weights.mean() * np.sqrt(len(weights)))
    return weights / weights.sum()


def resample(
    rng_key: RngKey,
    mixture: GaussianMixture,
    draws: Float[Array, "num dim"],
    log_weights: Float[np.ndarray, " num"],
    particles: Float[Array, "old dim"],
) -> Float[Array, "num dim"]:
    """As many points as there are draws, chosen by weight.

    Weights are truncated, so that one draw gives few copies. A region that has draws of positive
    weight, or had particles, is then raised to about the least share, if need be by copies of a
    single draw. Particles serve only where there are no such draws.

    Parameters
    ----------
    rng_key
        One key.
    mixture
        The regions, the wide component last.
    draws
        Of the proposal.
    log_weights
        Log weight of each draw, one of them finite.
    particles
        What was trained on before.
    """
    from blackjax.smc import resampling

    num_regions = len(mixture.log_weights)
    weights = truncated(log_weights)
    which, before = (np.asarray(assign(mixture, x)) for x in (draws, particles))
    share = np.bincount(which, weights, minlength=num_regions)
    has_draws = share > 0
    weights *= (np.maximum(share, LEAST_SHARE) / np.where(has_draws, share, 1.0))[which]
    old = np.bincount(before, minlength=num_regions)
    is_kept = ~has_draws
    # what no region covers is no region
    is_kept[-1] = False
    of_old = np.where(is_kept, LEAST_SHARE / np.maximum(old, 1), 0.0)[before]
    both = jnp.asarray(np.concatenate([weights, of_old]))
    chosen = resampling.systematic(rng_key, both / both.sum(), len(draws))
    return jnp.concatenate([draws, particles])[chosen]
