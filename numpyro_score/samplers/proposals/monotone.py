"""The probability flow in invertible steps, with the exact density of the discrete map.

In `y = x / alpha` and `rho = sigma / alpha` the flow from noise to data is

    dy/drho = (y - D(y, rho)) / rho,    D(y, rho) = E[y_0 | y],

(Karras et al. 2022, arXiv:2206.00364). A step from `rho` to `rho'`, with `r = rho' / rho`, is

    y' = r y + (1 - r) D(y, tau),    tau^2 = rho (rho + rho') / 2.

At `tau = rho` it is the step of DDIM (Song, Meng and Ermon 2021, arXiv:2010.02502), of order 1.
With the noise level `tau` above it is of order 2 for Gaussian data of any covariance: for variance
v and `rho = 1`, both the exact factor `sqrt((v + r^2) / (v + 1))` and the step's factor
`r + (1 - r) v / (v + tau^2)` are `1 - a e + (a - a^2) e^2 / 2 + O(e^3)`, where `e = 1 - r` and
`a = 1 / (v + 1)`.

For an exact score the Jacobian of a step is `r I + (1 - r) Cov(y_0 | y) / tau^2`, which is positive
definite for any step length. The map is therefore one to one. Its determinant is computed exactly,
step by step, and Newton's method inverts it (`inverse.py`). The density is that of the discrete
map, not of the differential equation. As long as the steps are invertible, the number of steps and
the error of the score affect the quality of the proposal, but not the exactness of a chain.

For a learned score invertibility is checked at every point used: a point at which the determinant
of a step is not positive, or at which the inversion fails, has density 0. This detects most
failures but not all, since a map may fold with positive determinants. `round_trip` measures the
rest.
"""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import lu_factor
from jaxtyping import Array, Float

from numpyro_score.noise import NoiseProcess
from numpyro_score.samplers.proposals.inverse import LOOSE, log_determinant, moved, undo
from numpyro_score.samplers.proposals.levels import denoised
from numpyro_score.samplers.steps import Score
from numpyro_score.types import RngKey, Scalar

Point = Float[Array, " dim"]


class Encoded(NamedTuple):
    """The noise of a point, and its density.

    Attributes
    ----------
    z
        Standard normal coordinates of the noise.
    log_prob
        Log density of the flow's distribution at the point; -inf where the inversion failed.
    residual
        Largest error of an inverted step, relative to the size of the point.
    """

    z: Point
    log_prob: Float[Array, ""]
    residual: Float[Array, ""]


@final
class MonotoneFlow(eqx.Module):
    """A bijection from standard normal noise to data, from a score.

    Parameters
    ----------
    score
        `score(x, t)` of one point, a vector.
    noise
        The noise process of the score.
    times
        `(num_steps,)`: the time at which each step evaluates the score.
    ratios
        `(num_steps,)`: `rho' / rho` of each step; 0 for a step to noise 0.
    start_mean, start_sd
        Mean and sd of the Gaussian to start from, in `y`, each `(dim,)`.
    """

    score: Score
    noise: NoiseProcess
    times: Float[Array, " num_steps"]
    ratios: Float[Array, " num_steps"]
    start_mean: Point
    start_sd: Point

    @property
    def kind(self) -> str:
        """`"flow"`."""
        return "flow"

    @property
    def dim(self) -> int:
        """Length of a point."""
        return self.start_mean.shape[0]

    def move(self, y: Point, t: Scalar, r: Scalar) -> Point:
        """The step of ratio `r` from `y`, with the score at time `t`."""
        return r * y + (1 - r) * denoised(self.score, self.noise, y, t)

    def _start_log_prob(self, z: Point) -> Float[Array, ""]:
        return -0.5 * jnp.sum(z**2 + jnp.log(2 * jnp.pi * self.start_sd.astype(z.dtype) ** 2))

    def _rows(self, dtype: jnp.dtype) -> tuple[Array, Array]:
        return self.times.astype(dtype), self.ratios.astype(dtype)

    def sample_and_log_prob(self, rng_key: RngKey) -> tuple[Point, Float[Array, ""]]:
        """One draw from the flow's distribution, and its log density."""
        return self.decode(jax.random.normal(rng_key, (self.dim,), self.start_sd.dtype))

    def log_prob(self, rng_key: RngKey, u: Point) -> Float[Array, ""]:
        """Log density of the flow's distribution at a point; the key is not used."""
        del rng_key
        return self.encode(u).log_prob

    def decode(self, z: Point) -> tuple[Point, Float[Array, ""]]:
        """The point that standard normal noise flows to, and its log density."""

        def body(carry: tuple[Array, Array], row: tuple[Array, Array]) -> tuple[tuple, None]:
            y, log_prob = carry
            y, jacobian = moved(self, y, *row)
            return (y, log_prob - log_determinant(lu_factor(jacobian))), None

        y = self.start_mean.astype(z.dtype) + self.start_sd.astype(z.dtype) * z
        carry = (y, self._start_log_prob(z))
        (x, log_prob), _ = jax.lax.scan(body, carry, self._rows(z.dtype))
        return x, jnp.where(jnp.isfinite(log_prob), log_prob, -jnp.inf)

    def encode(self, x: Point) -> Encoded:
        """The noise that flows to a point, and the log density of the point.

        Its derivatives, in the point and in the score's arrays, are exact: see `inverse.py`.
        """
        unit = jnp.finfo(x.dtype).eps

        def body(carry: tuple, row: tuple[Array, Array]) -> tuple[tuple, None]:
            y, log_prob, worst = carry
            t, r = row
            # the search begins at one explicit step backwards
            begin = y + (1 - r) * (y - denoised(self.score, self.noise, y, t))
            y, log_det, error = undo(self, y, t, r, jax.lax.stop_gradient(begin))
            return (y, log_prob - log_det, jnp.maximum(worst, error)), None

        zero = jnp.zeros((), x.dtype)
        (y, log_prob, error), _ = jax.lax.scan(
            body, (x, zero, zero), self._rows(x.dtype), reverse=True
        )
        z = (y - self.start_mean.astype(x.dtype)) / self.start_sd.astype(x.dtype)
        log_prob = log_prob + self._start_log_prob(z)
        is_found = (error < LOOSE * unit) & jnp.isfinite(log_prob)
        return Encoded(z, jnp.where(is_found, log_prob, -jnp.inf), error)
