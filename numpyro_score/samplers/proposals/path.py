"""The independence proposal of a score's whole reverse path, weighed against a forward one.

In `y = x / alpha` and levels `0 = rho_0 < rho_1 < ... < rho_K` of `rho = sigma / alpha`, noising is
the chain `y_k = y_{k-1} + sqrt(rho_k^2 - rho_{k-1}^2) z`. Its reversal is approximated by

    y_K ~ N(m, s^2),    y_{k-1} ~ N(D(y_k) + (1 - b_k) (y_k - D(y_k)), v_k)

with `b_k = 1 - (rho_{k-1} / rho_k)^2`, whose mean is exact for the true denoiser `D`, and a
variance by coordinate

    v_k = rho_{k-1}^2 b_k + b_k^2 c_k

where `c_k` is the mean of the denoiser's squared error: the best that does not depend on the place
(Bao et al. 2022, arXiv:2201.06503). For a target p of `y_0` the weight

    w = p(y_0) prod q(y_k | y_{k-1}) / (q_K(y_K) prod r(y_{k-1} | y_k))

of a path drawn backwards has the mean `Z`, the integral of p, whatever the score and however few
the steps (annealed importance sampling's argument, Neal 2001, doi:10.1023/A:1008923215028; for
diffusions Doucet et al. 2022, arXiv:2208.07698). Metropolis-Hastings on paths is therefore exact.
No derivative of the score is needed, so a step costs one evaluation in any dimension; the steps
have to be short, since a Gaussian stands for the law of `y_{k-1}` given `y_k`.
"""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.proposals.defensive import LearnedProposal, with_defensive
from numpyro_score.samplers.proposals.levels import LEAST_NOISE, denoised, noise_levels
from numpyro_score.samplers.steps import Score
from numpyro_score.types import RngKey, Scalar

Point = Float[Array, " dim"]

NUM_STEPS = 128
"""Default steps of the path."""

NUM_POINTS = 2048
"""Points at which the denoiser's error is looked at."""

TOGETHER = 16
"""Levels at which a forward path asks for the score at once."""


@final
class DenoisingPath(eqx.Module):
    """The law of a reverse path's end, with weights of the whole path.

    Parameters
    ----------
    score
        `score(x, t)` of one point, a vector.
    noise
        The process whose laws the score is of.
    ratios
        `(num_steps,)`: the levels `rho_K` to `rho_1`, falling.
    spreads
        `(num_steps, dim)`: sd of each reverse step.
    start_mean, start_sd
        Of the law to start from, in `y`, each `(dim,)`.
    """

    score: Score
    noise: NoiseProcess
    ratios: Float[Array, " num_steps"]
    spreads: Float[Array, "num_steps dim"]
    start_mean: Point
    start_sd: Point

    @property
    def dim(self) -> int:
        """Length of a point."""
        return self.start_mean.shape[0]

    def _rows(self) -> tuple[Array, Array, Array, Array]:
        """Of each step down: time, level before, level after, sd."""
        after = jnp.append(self.ratios[1:], 0.0).astype(self.ratios.dtype)
        return self.noise.time_of(self.ratios), self.ratios, after, self.spreads

    def _mean(self, y: Point, t: Scalar, before: Scalar, after: Scalar) -> Point:
        """Mean of the place one level lower."""
        end = denoised(self.score, self.noise, y, t)
        return end + (after / before) ** 2 * (y - end)

    def _start_log_prob(self, y: Point) -> Float[Array, ""]:
        z = (y - self.start_mean) / self.start_sd
        return -0.5 * jnp.sum(z**2 + jnp.log(2 * jnp.pi * self.start_sd**2))

    def _gain(self, lower: Point, upper: Point, mean: Point, row: tuple) -> Float[Array, ""]:
        """Log density of a step down less that of the same step up."""
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
        # levels fall along the rows, so a path goes up through them from the last one
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
    """Mean squared error of the denoiser at each level, by coordinate."""

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
    weight: float = 0.02,
    df: int = 5,
) -> LearnedProposal:
    """An independence proposal from whole reverse paths of a score: no derivative of it is needed.

    An exact kernel with it stays exact however bad the score is and however few the steps. Beside
    `flow_proposal` it costs one evaluation of the score a step instead of one for every dimension,
    but needs several times as many steps.

    Parameters
    ----------
    score
        `score(u, t)` of one point, a vector, and a scalar time; a `ScoreModel` or any function.
    noise
        The process whose laws the score is of.
    dim
        Length of a point.
    num_steps
        Steps of the path.
    least_noise
        Noise before the last step, which goes to none, in units of the data's sd.
    data_mean, data_sd
        Mean and sd of what the score was trained on, each one number or `(dim,)`; by default those
        of `data`, or 0 and 1.
    data
        Points `(num, dim)` of about the score's law, from which the sds of the steps are learned.
        Without them they are those for a Gaussian of the sd above, too large where the data are
        several narrow modes: give them.
    center, factor
        Where the score was trained on `u` with `x = center + factor u`: `(dim,)` and a lower
        triangular matrix `(dim, dim)`, or sds `(dim,)`. By default `u` is `x`.
    weight, df
        Weight, in [0, 1), and degrees of freedom, a whole number, of the Student t beside the path.

    Raises
    ------
    ValueError
        If a size, weight or shape cannot be one.
    TypeError
        If the numbers of steps or dimensions are not whole.

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
    # an error of next to nothing would make a step that no other path could have taken
    errors = np.maximum(errors, 1e-6 * before**2)
    spreads = np.sqrt(after**2 * share + share**2 * errors)
    law = DenoisingPath(
        score,
        noise,
        ratios,
        jnp.asarray(spreads, ratios.dtype),
        levels.start_mean,
        levels.start_sd,
    )
    return with_defensive(law, center, factor, weight, df)
