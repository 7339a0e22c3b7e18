"""Estimates of the preconditioner `P` from draws, and from the gradients at the draws.

*Fisher*: the `P` for which whitened draws and whitened gradients have equal covariance,

    P Cov(grad) P = Cov(x),

which minimises a Fisher divergence to a Gaussian (Seyboldt, Carlson and Carpenter 2026,
arXiv:2603.18845). On a Gaussian target a few more draws than dimensions determine it exactly, while
Cov(x) alone needs many times as many. `P` is the geometric mean of `Cov(x)` and `Cov(grad)^-1`.

*Covariance*: `P = Cov(x)`, for kernels without gradients.

Both return a `Preconditioner`, with the square root that the computation yields.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.adaptation.moments import Moments, covariance, variance
from numpyro_score.preconditioner import Preconditioner


class Estimator(NamedTuple):
    """An estimator of `P`.

    Attributes
    ----------
    estimate
        `(moments of the draws, moments of the gradients) -> P`.
    first_window_draws
        dim -> number of draws of all chains that the first window needs for a useful estimate.
    """

    estimate: Callable[[Moments, Moments], Preconditioner]
    first_window_draws: Callable[[int], int]


SHRINKAGE = 1e-5
"""Weight of the identity in the correlations of the Fisher estimate, which keeps them invertible
if a window holds fewer draws than dimensions."""

PRIOR_DRAWS = 5.0
"""Weight of the identity in the correlations of the covariance estimate, in draws (as in Stan)."""


def _correlation(cov: Float[Array, "dim dim"], weight: Array | float) -> Float[Array, "dim dim"]:
    sd = jnp.sqrt(jnp.diagonal(cov))
    return (1 - weight) * cov / (sd[:, None] * sd) + weight * jnp.eye(sd.size, dtype=cov.dtype)


def fisher_metric(draws: Moments, grads: Moments) -> Preconditioner:
    """`P` with `P Cov(grad) P = Cov(x)`; diagonal: `sqrt(var(x) / var(grad))`.

    Parameters
    ----------
    draws, grads
        Moments of the positions and of the log density's gradients at them, both diagonal or
        both dense. Dense estimates use correlations, after scaling the coordinates so that draws
        and gradients have equal variances, with shrinkage `SHRINKAGE`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.adaptation import moments
    >>> scale = jnp.array([1.0, 10.0])
    >>> x = scale * jax.random.normal(jax.random.key(0), (8, 2))
    >>> both = [
    ...     moments.update(moments.empty(2, x.dtype, is_dense=True), v, jnp.ones(8))
    ...     for v in (x, -x / scale**2)
    ... ]
    >>> jnp.allclose(
    ...     jnp.diagonal(fisher_metric(*both).inverse_mass_matrix), scale**2, rtol=1e-2
    ... ).item()
    True
    """
    var_x, var_g = variance(draws), variance(grads)
    if draws.scatter.ndim == 1:
        diagonal = jnp.sqrt(var_x / var_g)
        return Preconditioner(diagonal, jnp.sqrt(diagonal))
    unit = (var_x / var_g) ** 0.25  # in units of it, draws and gradients have variance `common`
    common = (var_x * var_g) ** 0.25
    outer = common[:, None] * common
    cov_x = _correlation(covariance(draws), SHRINKAGE) * outer
    cov_g = _correlation(covariance(grads), SHRINKAGE) * outer
    if not var_x.size:
        # without coordinates there is no largest eigenvalue
        return Preconditioner(cov_x, cov_x)
    # P = B^(-1/2) (B^(1/2) A B^(1/2))^(1/2) B^(-1/2) with A = Cov(x), B = Cov(grad)
    values, vectors = jnp.linalg.eigh(cov_g)
    root = jnp.sqrt(jnp.maximum(values, jnp.finfo(values.dtype).eps * values[-1]))
    root_g = (vectors * root) @ vectors.T
    middle_values, middle_vectors = jnp.linalg.eigh(root_g @ cov_x @ root_g)
    floor = jnp.finfo(values.dtype).eps * middle_values[-1]
    quarter = jnp.maximum(middle_values, floor) ** 0.25
    factor = unit[:, None] * (((vectors / root) @ vectors.T) @ (middle_vectors * quarter))
    return Preconditioner(factor @ factor.T, factor)


def covariance_metric(draws: Moments, grads: Moments) -> Preconditioner:
    """`P = Cov(x)`, correlations shrunk to 0 by `PRIOR_DRAWS` draws; gradients are ignored."""
    del grads
    var_x = variance(draws)
    if draws.scatter.ndim == 1:
        return Preconditioner(var_x, jnp.sqrt(var_x))
    weight = PRIOR_DRAWS / (draws.num_draws + PRIOR_DRAWS)
    sd = jnp.sqrt(var_x)
    factor = sd[:, None] * jnp.linalg.cholesky(_correlation(covariance(draws), weight))
    return Preconditioner(factor @ factor.T, factor)


def first_preconditioner(
    position: Float[Array, "chain dim"], grad: Float[Array, "chain dim"] | None, *, is_dense: bool
) -> Preconditioner:
    """Diagonal `P` at the start: sd of the positions (1 if it is 0) over rms of the gradients."""
    spread = jnp.std(position, axis=0)
    # without gradients there is no scale: the identity
    size = jnp.zeros_like(spread) if grad is None else jnp.sqrt(jnp.mean(grad**2, axis=0))
    diagonal = jnp.where(spread > 0, spread, 1.0) / jnp.maximum(size, 1e-10)
    diagonal = jnp.where(jnp.isfinite(diagonal) & (size > 0), jnp.clip(diagonal, 1e-10, 1e10), 1.0)
    root = jnp.sqrt(diagonal)
    if is_dense:
        return Preconditioner(jnp.diag(diagonal), jnp.diag(root))
    return Preconditioner(diagonal, root)


def is_usable_metric(new: Preconditioner) -> Array:
    """Whether all of its numbers are finite."""
    return jnp.all(jnp.isfinite(new.factor)) & jnp.all(jnp.isfinite(new.inverse_mass_matrix))


fisher = Estimator(fisher_metric, lambda dim: 40)
"""For kernels with gradients, which contain the local scale: few correlated draws suffice."""

sample_covariance = Estimator(covariance_metric, lambda dim: 100 + 20 * dim)
"""For kernels without gradients: draws that have not yet spread out would make `P` too small."""
