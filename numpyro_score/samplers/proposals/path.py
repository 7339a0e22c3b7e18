"""Independence proposals from reverse diffusion paths, weighted by forward paths.

In `y = x / alpha` and levels `0 = rho_0 < rho_1 < ... < rho_K` of `rho = sigma / alpha`, noising is
the chain `y_k = y_{k-1} + sqrt(rho_k^2 - rho_{k-1}^2) z`. Its reversal is approximated by

    y_K ~ N(m, s^2),    y_{k-1} ~ N(D(y_k) + (1 - b_k) (y_k - D(y_k)), v_k)

with `b_k = 1 - (rho_{k-1} / rho_k)^2`, whose mean is exact for the true denoiser `D`, and with
the variance of each coordinate

    v_k = rho_{k-1}^2 b_k + b_k^2 c_k

where `c_k` is the mean squared error of the denoiser: the optimal variance that does not depend on
the point (Bao et al. 2022, arXiv:2201.06503). For a target p of `y_0` the weight

    w = p(y_0) prod q(y_k | y_{k-1}) / (q_K(y_K) prod r(y_{k-1} | y_k))

of a reverse path has mean `Z`, the integral of p, for any score and any number of steps (as in
annealed importance sampling, Neal 2001, doi:10.1023/A:1008923215028; for diffusions Doucet et al.
2022, arXiv:2208.07698). Metropolis-Hastings on paths is therefore exact. It needs no derivative of
the score, so a step costs one evaluation in any dimension. Steps must be short, since a Gaussian
approximates the distribution of `y_{k-1}` given `y_k`.
"""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.proposals.defensive import (
    HEAVY_DF,
    HEAVY_WEIGHT,
    LearnedProposal,
    with_defensive,
)
from numpyro_score.samplers.proposals.levels import LEAST_NOISE, denoised, noise_levels
from numpyro_score.samplers.steps import Score
from numpyro_score.types import RngKey, Scalar

Point = Float[Array, " dim"]

NUM_STEPS = 128
"""Default number of steps."""

NUM_POINTS = 2048
"""Number of points from which the denoiser's error is estimated."""

TOGETHER = 16
"""Number of levels at which a forward path evaluates the score at once."""


@final
class DenoisingPath(eqx.Module):
    """The distribution of the end of a reverse path, with the weight of the whole path.

    Parameters
    ----------
    score
        `score(x, t)` of one point, a vector.
    noise
        The noise process of the score.
    ratios
        `(num_steps,)`: the decreasing levels `rho_K` to `rho_1`.
    spreads
        `(num_steps, dim)`: sd of each reverse step.
    start_mean, start_sd
        Mean and sd of the Gaussian to start from, in `y`, each `(dim,)`.
    """

    score: Score
    noise: NoiseProcess
    ratios: Float[Array, " num_steps"]
    spreads: Float[Array, "num_steps dim"]
    start_mean: Point
    start_sd: Point

    @property
    def kind(self) -> str:
        """`"path"`."""
        return "path"

    @property
    def dim(self) -> int:
        """Length of a point."""
        return self.start_mean.shape[0]

    def _rows(self) -> tuple[Array, Array, Array, Array]:
        """For each step down: time, level before, level after, sd."""
        after = jnp.append(self.ratios[1:], 0.0).astype(self.ratios.dtype)
        return self.noise.time_of(self.ratios), self.ratios, after, self.spreads

    def _mean(self, y: Point, t: Scalar, before: Scalar, after: Scalar) -> Point:
        """Mean of the point one level lower."""
        end = denoised(self.score, self.noise, y, t)
        return end + (after / before) ** 2 * (y - end)

    def _start_log_prob(self, y: Point) -> Float[Array, ""]:
        z = (y - self.start_mean) / self.start_sd
        return -0.5 * jnp.sum(z**2 + jnp.log(2 * jnp.pi * self.start_sd**2))

    def _gain(self, lower: Point, upper: Point, mean: Point, row: tuple) -> Float[Array, ""]:
        """Log density of a step down minus that of the reversed step up."""
        _, before, after, spread = row
        width = jnp.sqrt((before - after) * (before + after))
        down, up = (lower - mean) / spread, (upper - lower) / width
        return 0.5 * jnp.sum((up - down) * (up + down)) - jnp.sum(jnp.log(spread / width))

    def sample_and_log_prob(self, rng_key: RngKey) -> tuple[Point, Float[Array, ""]]:
        """The end of a reverse path, and the log weight of the path: reverse over forward."""
        key_start, key_steps = jax.random.split(rng_key)

        def body(carry: tuple, row: tuple) -> tuple[tuple, None]:
            y, log_learned = carry
            (t, before, after, spread), key = row[:4], row[4]
            mean = self._mean(y, t, before, after)
            lower = mean + spread * jax.random.normal(key, y.shape, y.dtype)
            return (lower, log_learned + self._gain(lower, y, mean, row[:4])), None

        y = self.start_mean + self.start_sd * jax.random.normal(
            key_start, (self.dim,), self.start_sd.dtype
        )
        keys = jax.random.split(key_steps, len(self.ratios))
        carry = (y, self._start_log_prob(y))
        (x, log_learned), _ = jax.lax.scan(body, carry, (*self._rows(), keys))
        return x, jnp.where(jnp.isfinite(log_learned), log_learned, -jnp.inf)

    def log_prob(self, rng_key: RngKey, u: Point) -> Float[Array, ""]:
        """Draw a forward path from a point, and its log weight: reverse over forward."""
        rows = self._rows()
        _, before, after, _ = rows
        widths = jnp.sqrt((before - after) * (before + after))
        noise = jax.random.normal(rng_key, (len(widths), self.dim), u.dtype)
        # levels decrease along the rows, so that a forward path starts at the last one
        uppers = u + jnp.cumsum((widths[:, None] * noise)[::-1], axis=0)[::-1]
        lowers = jnp.concatenate([uppers[1:], u[None]])

        def one(row: tuple) -> Float[Array, ""]:
            lower, upper, (t, before, after, spread) = row
            mean = self._mean(upper, t, before, after)
            return self._gain(lower, upper, mean, (t, before, after, spread))

        gains = jax.lax.map(one, (lowers, uppers, rows), batch_size=TOGETHER)
        log_learned = self._start_log_prob(uppers[0]) + jnp.sum(gains)
        return jnp.where(jnp.isfinite(log_learned), log_learned, -jnp.inf)


@eqx.filter_jit
def _errors(
    score: Score, noise: NoiseProcess, ratios: Array, data: Array, rng_key: RngKey
) -> Float[Array, "num_steps dim"]:
    """Mean squared error of the denoiser, for each level and coordinate."""

    def one(row: tuple) -> Array:
        ratio, key = row
        noisy = data + ratio * jax.random.normal(key, data.shape, data.dtype)
        t = noise.time_of(ratio)
        ends = jax.vmap(lambda y: denoised(score, noise, y, t))(noisy)
        return jnp.mean((data - ends) ** 2, axis=0)

    return jax.lax.map(one, (ratios, jax.random.split(rng_key, len(ratios))))


def path_proposal(
    score: Score,
    noise: NoiseProcess,
    dim: int,
    *,
    num_steps: int = NUM_STEPS,
    least_noise: float = LEAST_NOISE,
    data_mean: Any = None,
    data_sd: Any = None,
    data: Any = None,
    center: Any = 0.0,
    factor: Any = None,
    weight: float = HEAVY_WEIGHT,
    df: int = HEAVY_DF,
) -> LearnedProposal:
    """An independence proposal from reverse paths of a score, without derivatives of the score.

    A Metropolis-Hastings kernel with it is exact for any score and any number of steps. Compared
    with `flow_proposal` a step costs one evaluation of the score instead of one for each dimension,
    but several times as many steps are needed.

    Parameters
    ----------
    score
        `score(u, t)` of one point, a vector, and a scalar time; a `ScoreModel` or any function.
    noise
        The noise process of the score.
    dim
        Length of a point.
    num_steps
        Number of steps.
    least_noise
        Noise before the last step, which removes it, in units of the data's sd.
    data_mean, data_sd
        Mean and sd of the score's training data, each one number or `(dim,)`; by default those of
        `data`, or 0 and 1.
    data
        Points `(num, dim)` of about the score's distribution, from which the sds of the steps are
        estimated. By default the sds are those for a Gaussian of the sd above, which are too large
        if the data have several narrow modes.
    center, factor
        For a score that was trained on `u` with `x = center + factor u`: `(dim,)`, and a lower
        triangular matrix `(dim, dim)` or sds `(dim,)`. By default `u` is `x`.
    weight, df
        Weight, in [0, 1), and degrees of freedom, a whole number, of the Student t component.

    Raises
    ------
    ValueError
        A size, weight or shape is not valid.
        TypeError
            The number of steps or dimensions is not a whole number.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.kernels import independence
    >>> from numpyro_score.noise import VE
    >>> noise = VE(sigma_min=0.01, sigma_max=10.0)
    >>> score = lambda x, t: -x / (1.0 + noise.variance(t))  # of N(0, 1) data
    >>> proposal = path_proposal(score, noise, 1, num_steps=8)
    >>> kernel = independence(lambda x: -0.5 * jnp.sum(x**2), proposal.as_independent())
    >>> state, info = kernel.step(jax.random.key(1), kernel.init(jnp.zeros(1)))
    >>> bool(info.acceptance_rate > 0.1)
    True
    """
    levels = noise_levels(
        noise,
        dim,
        num_steps=num_steps,
        least_noise=least_noise,
        data_mean=data_mean,
        data_sd=data_sd,
        data=data,
    )
    ratios = levels.ratios
    before = np.asarray(ratios, np.float64)[:, None]
    if data is None:
        # of a Gaussian: v rho^2 / (v + rho^2)
        variance = np.maximum(np.asarray(levels.start_sd, np.float64) ** 2 - before[0] ** 2, 0.0)
        errors = variance * before**2 / (variance + before**2)
    else:
        points = jnp.asarray(data, ratios.dtype)[:NUM_POINTS]
        found = _errors(score, noise, ratios, points, jax.random.key(dim))
        errors = np.asarray(found, np.float64)
    after = np.append(before[1:], 0.0)[:, None]
    share = 1 - (after / before) ** 2
    # a near-zero error would make the density of a forward path's steps near-zero
    errors = np.maximum(errors, 1e-6 * before**2)
    spreads = np.sqrt(after**2 * share + share**2 * errors)
    path = DenoisingPath(
        score,
        noise,
        ratios,
        jnp.asarray(spreads, ratios.dtype),
        levels.start_mean,
        levels.start_sd,
    )
    heavy = levels.data_mean, levels.data_sd
    return with_defensive(path, heavy, center, factor, weight, df)
