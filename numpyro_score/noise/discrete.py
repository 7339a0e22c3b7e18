"""DDPM's chain of N noising steps, and the continuous process that it samples.

    x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) z,    alpha_i^2 = prod_{j <= i} (1 - beta_j)

(Ho, Jain and Abbeel 2020, arXiv:2006.11239). Step i is the time `t_i = i / N`. Any process with
`alpha^2 + sigma^2 = 1` has such a chain with the same laws at those times, and any such chain is a
process: `DiscreteVP` joins its `log alpha` by straight lines, so that `beta` is constant between
steps.
"""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.noise.base import NoiseProcess, as_time
from numpyro_score.types import Time


def ddpm_betas(noise: NoiseProcess, num_steps: int) -> Float[Array, " num_steps"]:
    """DDPM's `beta_1` to `beta_N` with the laws of a variance-preserving process at `i / N`.

    Parameters
    ----------
    noise
        A process with `alpha^2 + sigma^2 = 1`: `VP`, `CosineVP`, `OU` or `DiscreteVP`.
    num_steps
        N, at least 1.

    Raises
    ------
    ValueError
        If there is no step, or the process does not preserve variance.

    Examples
    --------
    >>> from numpyro_score.noise import VP
    >>> betas = ddpm_betas(VP(), 1000)
    >>> round(float(betas[0]), 5), round(float(betas[-1]), 4)
    (0.00011, 0.0198)
    """
    check_whole("num_steps", num_steps)
    times = jnp.arange(num_steps + 1) / num_steps
    total = noise.alpha(times) ** 2 + noise.variance(times)
    if not np.allclose(total, 1.0, atol=1e-4):
        raise ValueError(
            f"{type(noise).__name__} does not preserve variance (alpha^2 + sigma^2 reaches "
            f"{float(jnp.max(total)):g}), so that it is no DDPM chain; use VP, CosineVP or OU"
        )
    return -jnp.expm1(2 * jnp.diff(noise.log_alpha(times)))


@final
class DiscreteVP(NoiseProcess):
    """Variance-preserving process through the laws of a DDPM chain.

    Parameters
    ----------
    betas
        `beta_1 .. beta_N`, numbers between 0 and 1, such as the linear schedule
        `np.linspace(1e-4, 0.02, 1000)` of Ho et al.

    Raises
    ------
    ValueError
        If there is no beta, or one is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> noise = DiscreteVP(np.linspace(1e-4, 0.02, 1000))
    >>> noise.num_steps, round(float(noise.alpha(1.0)), 5)
    (1000, 0.00635)
    """

    knots: tuple[float, ...] = eqx.field(static=True)  # log alpha at i / N

    def __init__(self, betas: Sequence[float] | Float[np.ndarray | Array, " num_steps"]):
        values = np.asarray(betas, np.float64)
        if values.ndim != 1 or values.size == 0 or not ((values > 0) & (values < 1)).all():
            raise ValueError(
                f"betas of shape {values.shape} from {values.min(initial=np.inf):g} to "
                f"{values.max(initial=-np.inf):g}; DiscreteVP needs a vector of at least one "
                "number, each between 0 and 1"
            )
        log_alpha = 0.5 * np.cumsum(np.log1p(-values))
        self.knots = (0.0, *map(float, log_alpha))

    @property
    def num_steps(self) -> int:
        """N, the number of steps of the chain."""
        return len(self.knots) - 1

    def log_alpha(self, t: Time) -> Float[Array, "..."]:
        """`log alpha`, elementwise: straight between the chain's steps."""
        place = as_time(t) * self.num_steps
        step = jnp.clip(jnp.floor(place).astype(int), 0, self.num_steps - 1)
        knots = jnp.asarray(self.knots, place.dtype)
        return knots[step] + (place - step) * (knots[step + 1] - knots[step])

    def variance(self, t: Time) -> Float[Array, "..."]:
        """`sigma^2 = 1 - alpha^2`, elementwise."""
        return -jnp.expm1(2 * self.log_alpha(t))

    def time_of(self, ratio: Time) -> Float[Array, "..."]:
        """Time at which `sigma / alpha` is `ratio`."""
        log_alpha = -0.5 * jnp.log1p(as_time(ratio) ** 2)
        # between knots, which fall
        times = jnp.arange(len(self.knots)) / self.num_steps
        return jnp.interp(-log_alpha, -jnp.asarray(self.knots), times)
