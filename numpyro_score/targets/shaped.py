"""Targets whose local scale varies: a banana and Neal's funnel.

Banana: Haario, Saksman and Tamminen, Adaptive proposal distribution for random walk Metropolis
algorithm (Computational Statistics 14, 1999), with the constants of TFP's Inference Gym. Funnel:
Neal, Slice sampling (Annals of Statistics 31, 2003), section 8.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.targets.base import DensityTarget, ModelTarget
from numpyro_score.targets.expectation import Draws, Expectation, moments
from numpyro_score.types import RngKey

BANANA_SD = 10.0
BANANA_CURVATURE = 0.03
FUNNEL_SD = 3.0


def _bend(x0: Float[Array, ""]) -> Float[Array, ""]:
    return BANANA_CURVATURE * (x0**2 - BANANA_SD**2)


def _banana_logdensity(x: Float[Array, "2"]) -> Float[Array, ""]:
    return -0.5 * ((x[0] / BANANA_SD) ** 2 + (x[1] - _bend(x[0])) ** 2)


def _banana_draw(rng_key: RngKey) -> Float[Array, "2"]:
    z = jax.random.normal(rng_key, (2,))
    x0 = BANANA_SD * z[0]
    return jnp.stack([x0, _bend(x0) + z[1]])


def banana() -> DensityTarget:
    """A bent Gaussian: `x0 ~ N(0, 10^2)`, `x1 | x0 ~ N(.03 (x0^2 - 100), 1)` (sds).

    With `w = b (x0^2 - s^2)`, `s = 10`, `b = .03`: `E[w] = 0`, `E[w^2] = 2 b^2 s^4 = 18`,
    `E[w^4] = 60 b^4 s^8 = 4860`, and `x1 = w + z` has `E[x1^2] = 19`, `E[x1^4] = 4971`.

    Examples
    --------
    >>> [round(float(m), 6) for m in banana().expectations[1].truth]
    [100.0, 19.0]
    """
    variance = BANANA_SD**2
    w2 = 2 * BANANA_CURVATURE**2 * variance**2
    w4 = 60 * BANANA_CURVATURE**4 * variance**4
    second = np.array([variance, w2 + 1])
    fourth = np.array([3 * variance**2, w4 + 6 * w2 + 3])
    return DensityTarget(
        name="banana",
        description=(
            f"x0 ~ N(0, sd {BANANA_SD:g}), "
            f"x1 | x0 ~ N({BANANA_CURVATURE:g} (x0^2 - {variance:g}), sd 1)"
        ),
        dim=2,
        logdensity_fn=_banana_logdensity,
        expectations=moments("x", np.zeros(2), second, fourth),
        draw_fn=_banana_draw,
    )


def funnel_model(num_leaves: int) -> None:
    """Neal's funnel: `v ~ N(0, 3^2)` and `x_i | v ~ N(0, exp(v/2)^2)`, sds.

    Parameters
    ----------
    num_leaves
        the number of `x_i`.

    Examples
    --------
    >>> import jax
    >>> from numpyro.infer import Predictive
    >>> draws = Predictive(funnel_model, num_samples=5)(jax.random.key(0), 9)
    >>> draws["v"].shape, draws["x"].shape
    ((5,), (5, 9))
    """
    v = numpyro.sample("v", dist.Normal(0.0, FUNNEL_SD))
    with numpyro.plate("leaf", num_leaves):
        numpyro.sample("x", dist.Normal(0.0, jnp.exp(v / 2)))


def _funnel_draw(rng_key: RngKey, num_leaves: int) -> dict[str, Any]:
    z = jax.random.normal(rng_key, (1 + num_leaves,))
    v = FUNNEL_SD * z[0]
    return {"v": v, "x": jnp.exp(v / 2) * z[1:]}


def _log_abs(draws: Draws, variable: str) -> Any:
    """`log |x|`, where an exact 0 is replaced by the smallest normal number."""
    x = draws[variable]
    xp = x.__array_namespace__()
    return xp.log(xp.maximum(xp.abs(x), xp.finfo(x.dtype).tiny))


def funnel(dim: int = 10) -> ModelTarget:
    """Neal's funnel: `v ~ N(0, 3^2)` and `x_i | v ~ N(0, exp(v/2)^2)`, `i < dim`, sds.

    The mean and second moment of `v` are known, and the mean of `log |x_i| = v/2 + log |z|`, which
    is `-(gamma + log 2)/2`, with variance `9/4 + pi^2/8`. The moments of `x_i` itself are left out:
    `E[x_i^2] = e^4.5 = 90` is finite, but its estimate has sd `sqrt(3 e^18 - e^9) = 14,000` per
    draw, nearly all of it from draws that are too rare to occur in practice, so that neither the
    estimate nor its standard error would be reliable.

    Parameters
    ----------
    dim
        dimension, `v` included; at least 2.

    Raises
    ------
    ValueError
        `dim` is less than 2.

    Examples
    --------
    >>> [(e.name, e.variable) for e in funnel().expectations]
    [('mean', 'v'), ('second_moment', 'v'), ('mean_log_abs', 'x')]
    """
    check_whole("dim", dim, 2, hint="v is one and each x is one")
    num_leaves = dim - 1
    variance = FUNNEL_SD**2
    log_abs = Expectation(
        name="mean_log_abs",
        variable="x",
        fn=partial(_log_abs, variable="x"),
        truth=np.full(num_leaves, -(np.euler_gamma + np.log(2)) / 2),
        sd=np.full(num_leaves, np.sqrt(variance / 4 + np.pi**2 / 8)),
    )
    return ModelTarget(
        name="funnel",
        description=f"v ~ N(0, sd {FUNNEL_SD:g}), x_i | v ~ N(0, sd exp(v/2)), i = 1..{num_leaves}",
        model=funnel_model,
        model_args=(num_leaves,),
        expectations=(*moments("v", 0.0, variance, 3 * variance**2), log_abs),
        draw_fn=partial(_funnel_draw, num_leaves=num_leaves),
    )
