"""Draws moved once by a kernel that keeps the density, so that wrong mode weights show.

A kernel Stein discrepancy does not see the weights of modes that lie apart. A Markov kernel that
leaves `p` invariant leaves exact draws exact; draws with wrong weights it distorts within the
modes, where the discrepancy does see it (Liu, Duncan and Gandy 2023, arXiv:2304.14762). One step
here: from the mode `i` whose ellipsoid is nearest, propose another mode `j`, uniformly, by

    x' = m_j + A_j (A_i^-1 (x - m_i) + delta e_ij),    e_ij = -e_ji a unit vector along m_j - m_i,

with `A A^T` the inverse of the negative Hessian at the mode, and accept by Metropolis-Hastings with
the Jacobian `|A_j| / |A_i|`. Were `delta` 0, acceptance would be the same everywhere in a Gaussian
mode, and weights would change without a trace; the shift, in sds of the mode, makes it depend on
the place. (There the jump is scaled, `m_j - m_i` by a factor that is chosen among some on part of
the draws; a shift of so many sds needs no choice.)

Modes are found by climbing the density from the draws and from around them, so that a mode that no
chain has been in can be found.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.kernels.metropolis import accept_reject
from numpyro_score.types import LogDensityFn, RngKey

SHIFT = 1.5
"""delta, in sds of a mode."""

NUM_STARTS = 64
"""Points from which the density is climbed, half of them draws."""

LARGEST_SPREAD = 30.0
"""Sd of the other half, in sds of the draws, from 1 to this."""

NUM_STEPS = 60
"""Steps of a climb."""

ARRIVED = 0.01
"""Height that is left to climb, by the parabola at the end of a climb, where a summit is."""

FLATTEST = 1e-5
"""Curvature that counts as one, in units of the largest."""

SAME_MODE = 1.0
"""Distance in a mode's sds within which two summits are one."""


class DensityModes(NamedTuple):
    """Modes of a density, each as a Gaussian.

    Attributes
    ----------
    centres
        Summits.
    factors
        `A`, lower triangular, `A A^T` the inverse of the negative Hessian.
    """

    centres: Float[Array, "mode dim"]
    factors: Float[Array, "mode dim dim"]


class _Summits(NamedTuple):
    """Where climbs ended, in units of the draws' sds."""

    position: Float[Array, "start dim"]
    height: Float[Array, " start"]
    hessian: Float[Array, "start dim dim"]
    remaining: Float[Array, " start"]


@eqx.filter_jit
def _climb(
    logdensity_fn: LogDensityFn, starts: Float[Array, "start dim"], scale: Float[Array, " dim"]
) -> _Summits:
    """Newton's method, uphill along every axis of the Hessian, with the best of some lengths."""

    def height(z: Float[Array, " dim"]) -> Float[Array, ""]:
        value = logdensity_fn(z * scale)
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def newton(z: Float[Array, " dim"]) -> tuple[Array, Array]:
        """A step, and how much higher a parabola's summit is."""
        grad, hessian = jax.grad(height)(z), jax.hessian(height)(z)
        values, vectors = jnp.linalg.eigh(hessian)
        steepness = jnp.maximum(jnp.abs(values), FLATTEST * jnp.max(jnp.abs(values)))
        along = vectors.T @ grad
        return vectors @ (along / steepness), 0.5 * jnp.sum(along**2 / steepness)

    lengths = jnp.asarray([0.0, *(2.0 ** -np.arange(-1, 8))])

    def is_climbing(state: tuple[Array, Array, Array]) -> Array:
        return (state[1] > ARRIVED / 100) & (state[2] < NUM_STEPS)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        z = state[0]
        direction, remaining = newton(z)
        candidates = z + lengths[:, None] * jnp.nan_to_num(direction)
        return candidates[jnp.argmax(jax.vmap(height)(candidates))], remaining, state[2] + 1

    def climb(start: Float[Array, " dim"]) -> _Summits:
        state = start / scale, jnp.asarray(jnp.inf, start.dtype), jnp.asarray(0)
        z = jax.lax.while_loop(is_climbing, step, state)[0]
        return _Summits(z * scale, height(z), jax.hessian(height)(z), newton(z)[1])

    return jax.vmap(climb)(starts)


def find_density_modes(
    logdensity_fn: LogDensityFn, points: Float[np.ndarray, "draws dim"], rng_key: RngKey
) -> DensityModes:
    """Modes of a density that can be climbed to from draws and from around them.

    Parameters
    ----------
    logdensity_fn
        Position `(dim,)` -> log density.
    points
        Draws.
    rng_key
        Of the starts.

    Returns
    -------
    The modes, the highest first; summits where the Hessian is not negative definite are left out.

    Examples
    --------
    >>> from numpyro_score.targets import two_modes
    >>> x = 5 + np.random.default_rng(0).normal(size=(100, 2))  # in one of the two modes
    >>> found = find_density_modes(two_modes().logdensity_fn, x, jax.random.key(0))
    >>> sorted(found.centres[:, 0].round(2).tolist())
    [-5.0, 5.0]
    """
    dim = points.shape[1]
    key_choice, key_spread, key_noise = jax.random.split(rng_key, 3)
    sd = jnp.asarray(points.std(axis=0))
    scale = jnp.where(sd > 0, sd, 1.0)
    half = NUM_STARTS // 2
    chosen = jax.random.choice(key_choice, jnp.asarray(points), (half,))
    spread = LARGEST_SPREAD ** jax.random.uniform(key_spread, (NUM_STARTS - half, 1))
    noise = spread * jax.random.normal(key_noise, (NUM_STARTS - half, dim))
    starts = jnp.concatenate([chosen, jnp.asarray(points.mean(axis=0)) + scale * noise])
    found = jax.tree.map(lambda a: np.asarray(a, np.float64), _climb(logdensity_fn, starts, scale))
    centres: list[Float[np.ndarray, " dim"]] = []
    factors: list[Float[np.ndarray, "dim dim"]] = []
    for place in np.argsort(-found.height):
        summit = found.position[place]
        # NaN is no summit either
        if not found.remaining[place] < ARRIVED or not np.isfinite(summit).all():
            continue
        values, vectors = np.linalg.eigh(-found.hessian[place])
        if values[0] <= FLATTEST * values[-1]:
            continue
        covariance = (vectors / values) @ vectors.T * np.outer(scale, scale)
        is_known = any(
            np.linalg.norm(np.linalg.solve(factor, summit - centre)) < SAME_MODE
            for centre, factor in zip(centres, factors, strict=True)
        )
        if not is_known:
            centres.append(summit)
            factors.append(np.linalg.cholesky(covariance))
    shape = len(centres), dim
    return DensityModes(
        jnp.asarray(np.array(centres).reshape(shape)),
        jnp.asarray(np.array(factors).reshape(*shape, dim)),
    )


@eqx.filter_jit
def perturb(
    rng_key: RngKey,
    points: Float[Array, "draws dim"],
    logdensity_fn: LogDensityFn,
    modes: DensityModes,
    shift: float | Float[Array, ""] = SHIFT,
) -> Float[Array, "draws dim"]:
    """One step between modes from every draw, by a kernel that leaves the density invariant.

    Parameters
    ----------
    rng_key
        Of the jumps.
    points
        Draws.
    logdensity_fn
        Position `(dim,)` -> log density.
    modes
        At least two.
    shift
        delta.

    Examples
    --------
    >>> from numpyro_score.targets import two_modes
    >>> x = jnp.full((1000, 2), -5.0)  # the lesser mode, from which most jumps are accepted
    >>> modes = DensityModes(jnp.array([[-5.0, -5.0], [5.0, 5.0]]), jnp.stack([jnp.eye(2)] * 2))
    >>> moved = perturb(jax.random.key(0), x, two_modes().logdensity_fn, modes)
    >>> bool(jnp.mean(moved[:, 0] > 0) > 0.9)
    True
    """
    num_modes = modes.centres.shape[0]
    inverse = jax.vmap(jnp.linalg.inv)(modes.factors)
    log_volume = jnp.sum(jnp.log(jnp.diagonal(modes.factors, axis1=1, axis2=2)), axis=1)

    def nearest(x: Float[Array, " dim"]) -> Array:
        return jnp.argmin(jnp.sum(jnp.einsum("kij,kj->ki", inverse, x - modes.centres) ** 2, -1))

    def step(key: RngKey, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
        key_mode, key_accept = jax.random.split(key)
        i = nearest(x)
        j = (i + jax.random.randint(key_mode, (), 1, num_modes)) % num_modes
        line = modes.centres[j] - modes.centres[i]
        direction = line / jnp.linalg.norm(line)
        place = inverse[i] @ (x - modes.centres[i]) + shift * direction
        candidate = modes.centres[j] + modes.factors[j] @ place
        logdensity = logdensity_fn(candidate)
        log_ratio = logdensity - logdensity_fn(x) + log_volume[j] - log_volume[i]
        # a candidate from which the reverse jump does not lead back is refused
        logdensity = jnp.where(nearest(candidate) == j, logdensity, -jnp.inf)
        moved, _ = accept_reject(
            key_accept, x, candidate, log_ratio=log_ratio, logdensity=logdensity
        )
        return moved

    return jax.vmap(step)(jax.random.split(rng_key, len(points)), points)
