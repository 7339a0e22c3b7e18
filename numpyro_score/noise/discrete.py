"""The N noising steps of DDPM, and the continuous process that interpolates them.

    x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) z,    alpha_i^2 = prod_{j <= i} (1 - beta_j)

(Ho, Jain and Abbeel 2020, arXiv:2006.11239). Step i is at time `t_i = i / N`. Every process with
`alpha^2 + sigma^2 = 1` has a chain with the same distributions at those times. Conversely,
`DiscreteVP` makes a process of a chain: it interpolates `log alpha` linearly, so that `beta` is
constant between steps.
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
    """`beta_1, ..., beta_N` of the DDPM chain of a variance-preserving process.

    Parameters
    ----------
    noise
        A process with `alpha^2 + sigma^2 = 1`: `VP`, `CosineVP`, `OU` or `DiscreteVP`.
    num_steps
        N, at least 1.

    Raises
    ------
    ValueError
        There is no step, or the process does not preserve variance.

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
            f"{float(jnp.max(total)):g}), so that it has no DDPM chain; use VP, CosineVP or OU"
        )
    return -jnp.expm1(2 * jnp.diff(noise.log_alpha(times)))


@final
class DiscreteVP(NoiseProcess):
    """Variance-preserving process with the distributions of a DDPM chain.

    Parameters
    ----------
    betas
        `beta_1 .. beta_N`, numbers between 0 and 1, such as the linear schedule
        `np.linspace(1e-4, 0.02, 1000)` of Ho et al.

    Raises
    ------
    ValueError
        There is no beta, or one is not between 0 and 1.

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
        """`log alpha`, elementwise; linear between the steps of the chain."""
        steps = as_time(t) * self.num_steps
        step = jnp.clip(jnp.floor(steps).astype(int), 0, self.num_steps - 1)
        knots = jnp.asarray(self.knots, steps.dtype)
        return knots[step] + (steps - step) * (knots[step + 1] - knots[step])

    def variance(self, t: Time) -> Float[Array, "..."]:
        """`sigma^2 = 1 - alpha^2`, elementwise."""
        return -jnp.expm1(2 * self.log_alpha(t))

    def time_of(self, ratio: Time) -> Float[Array, "..."]:
        """Time at which `sigma / alpha` is `ratio`."""
        log_alpha = -0.5 * jnp.log1p(as_time(ratio) ** 2)
        # negated, because the knots fall
        times = jnp.arange(len(self.knots)) / self.num_steps
        return jnp.interp(-log_alpha, -jnp.asarray(self.knots), times)
