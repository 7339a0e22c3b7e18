"""A Gaussian kernel density estimate and its score, in memory that does not grow with the data.

    p_h(x) = 1/n sum_i N(x; x_i, h^2 I),    grad log p_h(x) = (sum_i w_i(x) x_i - x) / h^2,

with `w_i` the softmax of `-|x - x_i|^2 / 2 h^2`. Data are processed in chunks with a running
log-sum-exp. `empirical_score` is the same density at every noise level of a process.

Silverman, Density Estimation for Statistics and Data Analysis (1986).
"""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from numpyro_score.checks import check_positive

CHUNK = 512
"""Data points that are compared with a query at once."""


def silverman_bandwidth(data: Any) -> float:
    """Bandwidth by Silverman's rule: optimal for a Gaussian, too wide for multimodal data.

    `h = s (4 / (d + 2))^(1 / (d + 4)) n^(-1 / (d + 4))`, with `s^2` the mean of the coordinates'
    variances (Silverman 1986, Density estimation for statistics and data analysis, section 4.3).

    Parameters
    ----------
    data
        `(n, *event)`.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.random.default_rng(0).normal(size=(10_000, 2))
    >>> round(silverman_bandwidth(draws), 1)  # 10000^(-1/6)
    0.2
    """
    points = np.asarray(data, np.float64).reshape(len(data), -1)
    n, d = points.shape
    return float(np.sqrt(points.var(axis=0).mean()) * (4 / ((d + 2) * n)) ** (1 / (d + 4)))


@final
class KernelDensity(eqx.Module):
    """Gaussian kernel density estimate; calling it gives its score.

    Parameters
    ----------
    data
        `(n, *event)`.
    bandwidth
        Sd h of each kernel, in units of the data; by default `silverman_bandwidth(data)`.

    Raises
    ------
    ValueError
        The data are empty or not finite, or the bandwidth is not above 0.

    Examples
    --------
    The score vanishes midway between two points, and points back outside of them:

    >>> import jax.numpy as jnp
    >>> density = KernelDensity(jnp.array([[-1.0], [1.0]]), bandwidth=0.5)
    >>> [round(float(density(jnp.array([x]))[0]), 3) for x in (0.0, 2.0)]
    [0.0, -4.0]
    """

    data: Float[Array, "num *event"]
    bandwidth: float = eqx.field(static=True)

    def __init__(self, data: Any, bandwidth: float | None = None) -> None:
        self.data = jnp.asarray(data, jnp.result_type(float, jnp.asarray(data)))
        if self.data.ndim == 0 or self.data.size == 0:
            raise ValueError(f"data have shape {self.data.shape}; give points, shape (n, *event)")
        if not np.isfinite(self.data).all():
            raise ValueError("data hold values that are not finite; leave those points out")
        self.bandwidth = silverman_bandwidth(self.data) if bandwidth is None else float(bandwidth)
        hint = "all data points are equal; give a bandwidth" if bandwidth is None else ""
        check_positive("the bandwidth", self.bandwidth, hint=hint)

    def _sums(self, x: Float[Array, "*event"]) -> tuple[Array, Array]:
        """`log sum_i exp(-|x - x_i|^2 / 2 h^2)` and the weighted mean of `x_i - x`."""
        n = len(self.data)
        size = min(CHUNK, n)
        num_chunks = -(-n // size)
        short = num_chunks * size - n
        flat = self.data.reshape(n, -1)
        chunks = jnp.pad(flat, ((0, short), (0, 0))).reshape(num_chunks, size, -1)
        is_real = (jnp.arange(num_chunks * size) < n).reshape(num_chunks, size)
        query = x.ravel()

        def add(carry: tuple[Array, Array], chunk: tuple[Array, Array]) -> Any:
            log_total, mean = carry
            points, keep = chunk
            away = points - query[None]
            logits = -jnp.sum(away**2, axis=1) / (2 * self.bandwidth**2)
            logits = jnp.where(keep, logits, -jnp.inf)
            log_part = logsumexp(logits)
            new_total = jnp.logaddexp(log_total, log_part)
            part = jnp.exp(logits - new_total) @ away
            return (new_total, jnp.exp(log_total - new_total) * mean + part), None

        start = (jnp.full((), -jnp.inf, x.dtype), jnp.zeros_like(query))
        (log_total, mean), _ = jax.lax.scan(add, start, (chunks, is_real))
        return log_total, mean.reshape(x.shape)

    def logdensity(self, x: Float[Array, "*event"]) -> Float[Array, ""]:
        """Log density at one point."""
        constant = x.size * np.log(np.sqrt(2 * np.pi) * self.bandwidth) + np.log(len(self.data))
        return self._sums(x)[0] - constant

    def __call__(self, x: Float[Array, "*event"]) -> Float[Array, "*event"]:
        """Score at one point: the gradient of the log density."""
        return self._sums(x)[1] / self.bandwidth**2
