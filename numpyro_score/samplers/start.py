"""Where a sampler starts: a Gaussian with the moments of the data plus noise at the first time.

The distribution at the end of the noise process is that of the data plus the largest noise. The
Gaussian with its mean and sds is the closest Gaussian with independent coordinates. With mean 0 in
place of the data's, `sigma_max = 20` and modes of weights .2 and .8 at (-5, -5) and (5, 5), the
larger one gets a weight of .74.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.samplers.steps import Score

Moments = tuple[Float[Array, "..."], Float[Array, "..."]]


def data_moments(score: Score, data_mean: Any = None, data_sd: Any = None) -> Moments:
    """Mean and sd of the data: as given, else from the score, else 0.

    Parameters
    ----------
    score
        Its attribute `data_moments`, if it has one, is a pair, or None if they are not known.
    data_mean, data_sd
        Numbers or arrays that broadcast to a point's shape, or None.

    Raises
    ------
    ValueError
        An sd is below 0, or a value is not finite.

    Examples
    --------
    >>> mean, sd = data_moments(lambda x, t: -x, data_sd=2.0)
    >>> float(mean), float(sd)
    (0.0, 2.0)
    """
    known = getattr(score, "data_moments", None)
    mean, sd = (0.0, 0.0) if known is None else known
    mean = mean if data_mean is None else data_mean
    sd = sd if data_sd is None else data_sd
    if not np.isfinite(np.asarray(mean)).all():
        raise ValueError("data_mean is not finite; leave it out if it is not known")
    if not (np.isfinite(np.asarray(sd)) & (np.asarray(sd) >= 0)).all():
        raise ValueError("data_sd must be finite and 0 or more; leave it out if it is not known")
    dtype = jnp.result_type(float)
    return jnp.asarray(mean, dtype), jnp.asarray(sd, dtype)
