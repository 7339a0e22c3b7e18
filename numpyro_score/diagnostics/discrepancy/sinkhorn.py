"""Sinkhorn's 2-Wasserstein distance: optimal transport made smooth, and its bias taken off.

Transport between samples of `n` and `m` draws with cost `|x - y|^2` and an entropic penalty `eps`
has the potentials

    f(x) = -eps log mean_y exp((g(y) - |x - y|^2) / eps),

and `g` likewise, found by turns (Cuturi 2013, arXiv:1306.0895), here with `eps` falling to its
last value. With `OT(a, b) = mean f + mean g` the divergence `S = OT(a, b) - (OT(a, a) + OT(b, b)) /
2` is 0 for equal samples and tends to `W_2^2` as `eps` falls (Feydy et al. 2019, arXiv:1810.08278).
The distance is `sqrt(S)`; between exact samples in many dimensions it is far from 0, so that it
means something beside its floor only.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

REGULARISATION = 0.01
"""The last eps, in units of the mean squared distance of the reference's draws from their mean."""

NUM_ITERATIONS = 100
"""Turns; in the first half eps falls from `FIRST` of that unit."""

FIRST = 1.0
"""The first eps, in the same units."""

MULTIPLE = 128
"""Samples are filled up to a multiple of this, so that few shapes are compiled."""


@partial(jax.jit, static_argnames="num_iterations")
def _transport(
    a: Float[Array, "n dim"],
    is_a: Bool[Array, " n"],
    b: Float[Array, "m dim"],
    is_b: Bool[Array, " m"],
    eps: Float[Array, ""],
    first: Float[Array, ""],
    num_iterations: int = NUM_ITERATIONS,
) -> Float[Array, ""]:
    squared = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1) - 2 * a @ b.T
    cost = jnp.maximum(squared, 0.0)
    # what is no draw has no weight
    log_a = jnp.where(is_a, -jnp.log(jnp.sum(is_a)), -jnp.inf)
    log_b = jnp.where(is_b, -jnp.log(jnp.sum(is_b)), -jnp.inf)

    def turn(step: Array, potentials: tuple[Array, Array]) -> tuple[Array, Array]:
        f, g = potentials
        share = jnp.minimum(2.0 * step / num_iterations, 1.0)
        now = first * (eps / first) ** share
        f = -now * jax.nn.logsumexp((g - cost) / now + log_b, axis=1)
        g = -now * jax.nn.logsumexp((f[:, None] - cost) / now + log_a[:, None], axis=0)
        return f, g

    start = jnp.zeros(len(a), cost.dtype), jnp.zeros(len(b), cost.dtype)
    f, g = jax.lax.fori_loop(0, num_iterations, turn, start)
    return jnp.mean(f, where=is_a) + jnp.mean(g, where=is_b)


def _filled(x: Float[np.ndarray, "n dim"]) -> tuple[Float[Array, "k dim"], Bool[Array, " k"]]:
    missing = -len(x) % MULTIPLE
    padded = np.pad(x, ((0, missing), (0, 0)))
    return jnp.asarray(padded), jnp.arange(len(padded)) < len(x)


def sinkhorn_w2(left: Float[np.ndarray, "a dim"], right: Float[np.ndarray, "b dim"]) -> float:
    """Sinkhorn's estimate of the 2-Wasserstein distance between two samples.

    Parameters
    ----------
    left, right
        Samples; `right` the reference, whose spread the penalty is in units of.

    Returns
    -------
    The distance, in units of the samples.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> round(sinkhorn_w2(x + [3.0, 4.0], x), 2)
    5.0
    """
    (a, is_a), (b, is_b) = _filled(left), _filled(right)
    spread = np.sum(right.var(axis=0))
    eps, first = (jnp.asarray(c * spread, b.dtype) for c in (REGULARISATION, FIRST))
    apart = _transport(a, is_a, b, is_b, eps, first)
    within = _transport(a, is_a, a, is_a, eps, first), _transport(b, is_b, b, is_b, eps, first)
    return float(np.sqrt(max(float(apart - (within[0] + within[1]) / 2), 0.0)))
