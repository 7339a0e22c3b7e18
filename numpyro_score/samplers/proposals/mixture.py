"""Independence proposals from a mixture of Gaussians: nothing to train, for modes near Gaussian.

McLachlan and Peel 2000, doi:10.1002/0471721182.
"""

from typing import Any, final

import equinox as eqx
from jaxtyping import Array, Float

from numpyro_score.kernels.gaussian_mixture import GaussianMixture
from numpyro_score.samplers.proposals.defensive import (
    HEAVY_DF,
    HEAVY_WEIGHT,
    LearnedProposal,
    location_and_scales,
    with_defensive,
)
from numpyro_score.types import RngKey

Point = Float[Array, " dim"]


@final
class MixtureDistribution(eqx.Module):
    """A mixture of Gaussians as a `ScoreDistribution`, whose density needs no auxiliary variables.

    Parameters
    ----------
    mixture
        In whitened coordinates.
    """

    mixture: GaussianMixture

    @property
    def kind(self) -> str:
        """`"mixture"`."""
        return "mixture"

    @property
    def dim(self) -> int:
        """Length of a point."""
        return self.mixture.means.shape[1]

    def sample_and_log_prob(self, rng_key: RngKey) -> tuple[Point, Float[Array, ""]]:
        """One draw and its log density."""
        return self.mixture.sample_and_log_prob(rng_key)

    def log_prob(self, rng_key: RngKey, u: Point) -> Float[Array, ""]:
        """Log density at a point; the key is not used."""
        del rng_key
        return self.mixture.log_prob(u)


def mixture_proposal(
    mixture: GaussianMixture,
    *,
    data: Any,
    center: Any = 0.0,
    factor: Any = None,
    weight: float = HEAVY_WEIGHT,
    df: int = HEAVY_DF,
) -> LearnedProposal:
    """An independence proposal from a mixture of Gaussians.

    Parameters
    ----------
    mixture
        Of points `u`, with `x = center + factor u`.
    data
        Points `u`, `(num, dim)`, whose mean and sds are those of the Student t component.
    center, factor, weight, df
        As for `flow_proposal`.

    Raises
    ------
    ValueError, TypeError
        A weight or shape is not valid.

    Examples
    --------
    >>> import jax
    >>> import numpy as np
    >>> from numpyro_score.kernels.gaussian_mixture import gaussian_mixture
    >>> mixture = gaussian_mixture([0.5, 0.5], [[-3.0], [3.0]], [[[1.0]], [[1.0]]])
    >>> proposal = mixture_proposal(mixture, data=np.array([[-3.0], [3.0]]))
    >>> x, log_q = proposal.sample_and_log_prob(jax.random.key(0))
    >>> bool(abs(proposal.log_prob(jax.random.key(0), x) - log_q) < 1e-5)
    True
    """
    learned = MixtureDistribution(mixture)
    heavy = location_and_scales(data, learned.dim)
    return with_defensive(learned, heavy, center, factor, weight, df)
