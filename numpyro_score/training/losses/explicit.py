"""Explicit score matching: against a score that is known, such as that of a density estimate.

    J(s) = 1/2 E_{x ~ p} |s(x) - grad log p(x)|^2

(Hyvarinen 2005, section 2, jmlr.org/papers/v6/hyvarinen05a.html). With a kernel density estimate
`p_h` of the data in place of p, points are drawn from `p_h` too: data plus noise of the bandwidth
(Vincent 2011, doi:10.1162/NECO_a_00142, equation 7).
"""

from typing import Any, final

import equinox as eqx
import jax
from jaxtyping import Array, Float

from numpyro_score.scores import KernelDensity
from numpyro_score.training.losses.base import Batch, as_batch, check_score, mean_over, squared_norm
from numpyro_score.types import RngKey, ScoreFn


@final
class ExplicitScoreMatching(eqx.Module):
    """`1/2 E |s(x) - target(x)|^2` for a model `s(x)`.

    Parameters
    ----------
    target
        Point -> its true score, or a `KernelDensity` of the data, whose score is taken.
    noise_scale
        Sd of the noise that is added to the batch. By default the bandwidth of a
        `KernelDensity`, so that points are draws from the estimate, and 0 otherwise.

    Raises
    ------
    ValueError
        When called, if the model or the target does not fit the batch.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> batch = jax.random.normal(jax.random.key(0), (100, 2))
    >>> loss = ExplicitScoreMatching(lambda x: -x)  # of a standard Gaussian
    >>> float(loss(lambda x: -x, batch, jax.random.key(1)))
    0.0
    """

    target: ScoreFn
    noise_scale: float | Float[Array, ""]

    def __init__(
        self, target: ScoreFn | KernelDensity, noise_scale: float | Float[Array, ""] | None = None
    ) -> None:
        self.target = target
        if noise_scale is None:
            noise_scale = target.bandwidth if isinstance(target, KernelDensity) else 0.0
        self.noise_scale = noise_scale

    def points(self, batch: Batch, rng_key: RngKey) -> Batch:
        """Where scores are compared: the batch with its noise."""
        batch = as_batch(batch)
        return batch + self.noise_scale * jax.random.normal(rng_key, batch.shape, batch.dtype)

    def __call__(self, model: Any, batch: Batch, rng_key: RngKey) -> Float[Array, ""]:
        """Loss of a batch `(batch, *event)`."""
        x = self.points(batch, rng_key)
        check_score(model, x[0])
        check_score(self.target, x[0])
        return mean_over(lambda x: squared_norm(model(x) - self.target(x)) / 2, x)
