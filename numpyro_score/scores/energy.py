"""Energy networks: unnormalised densities that kernels can sample, and their scores by gradients.

`EnergyNet` is one density, `log p(x) = -E(x)` up to a constant, with

    E(x) = |u|^2 / 2 + network(u),    u = (x - mean) / sd.

The network grows at most linearly in `u`, so that the density can always be normalised.
`EnergyScore` is a density at each noise level, scaled as in `ScoreNetwork`:

    log p_t(x) = -|u|^2 / 2 - sum c u network(u, level),    c = a / sqrt(s^2 + r^2),

an inner product that makes a scalar of any network's output (Salimans and Ho 2021, Should EBMs
model the energy or the score?, who find it nearly as good as learning the score).
"""

import math
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.noise import NoiseProcess
from numpyro_score.scores.base import Condition, Event, ScoreModel
from numpyro_score.scores.mlp import as_shape, check_event, near_zero
from numpyro_score.scores.network import FINEST, check_finest
from numpyro_score.scores.standardisation import Data, Standardisation
from numpyro_score.types import RngKey, Scalar


@final
class EnergyNet(eqx.Module):
    """An unnormalised density given by an energy network; calling it gives the score.

    Parameters
    ----------
    shape
        Length of a point, or its shape, which is flattened.
    width, depth
        Units and number of hidden layers.
    data
        `(num, *event)` whose mean and sd standardise the network's input; None for standardised
        data.
    axis
        The axes of `data` that means and sds are taken over.
    rng_key
        For the initial weights. The last layer starts near 0, so that the initial density is about
        Gaussian.

    Raises
    ------
    ValueError
        A size is below 1, or data are empty or not finite; when called, the point has another
        shape.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> import numpyro_score as ns
    >>> model = EnergyNet(2, rng_key=jax.random.key(0))
    >>> x = jnp.array([1.0, 2.0])
    >>> round(float(model.energy(x)), 3), model(x).round(3).tolist()
    (2.5, [-1.0, -2.0])
    >>> state = ns.mala(model.logdensity, step_size=0.5).init(x)  # an exact kernel for it
    """

    layers: tuple[eqx.nn.Linear, ...]
    units: Standardisation
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: int | tuple[int, ...],
        width: int = 128,
        depth: int = 3,
        data: Data | None = None,
        *,
        axis: int | tuple[int, ...] = 0,
        rng_key: RngKey,
    ):
        self.shape = as_shape(shape)
        check_whole("width", width)
        check_whole("depth", depth)
        sizes = [math.prod(self.shape), *[width] * depth]
        *keys, key_last = jax.random.split(rng_key, depth + 1)
        hidden = [
            eqx.nn.Linear(before, after, key=key)
            for before, after, key in zip(sizes, sizes[1:], keys, strict=False)
        ]
        self.layers = (*hidden, near_zero(eqx.nn.Linear(width, 1, key=key_last)))
        self.units = Standardisation(data, axis)

    def energy(self, x: Event) -> Float[Array, ""]:
        """Energy of one point, up to a constant."""
        check_event(x, self.shape)
        u = self.units.static(x).reshape(-1)
        hidden = u
        for layer in self.layers[:-1]:
            hidden = jax.nn.silu(layer(hidden))
        return 0.5 * jnp.sum(u**2) + self.layers[-1](hidden)[0]

    def logdensity(self, x: Event) -> Float[Array, ""]:
        """`-energy`."""
        return -self.energy(x)

    def __call__(self, x: Event) -> Event:
        """The score at one point, the gradient of `logdensity`."""
        return jax.grad(self.logdensity)(x)


@final
class EnergyScore(ScoreModel):
    """An unnormalised density at every noise level, and its score by differentiation.

    It is trained like a `ScoreNetwork`, at about twice the cost.

    Parameters
    ----------
    network, noise, data, axis, finest
        As of `ScoreNetwork`.

    Raises
    ------
    ValueError
        If data are empty or not finite, or `finest` is below 0.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.noise import VE
    >>> from numpyro_score.scores import ResidualMLP
    >>> network = ResidualMLP(2, rng_key=jax.random.key(0))
    >>> model = EnergyScore(network, VE(sigma_min=0.1, sigma_max=10.0))
    >>> x = jnp.array([2.0, 0.0])
    >>> round(float(model.logdensity(x, 0.5)), 3), model(x, 0.5).round(3).tolist()
    (-1.0, [-1.0, 0.0])
    """

    network: Callable[..., Any]
    noise: NoiseProcess
    units: Standardisation
    finest: float = eqx.field(static=True)

    def __init__(
        self,
        network: Callable[..., Any],
        noise: NoiseProcess,
        data: Data | None = None,
        *,
        axis: int | tuple[int, ...] = 0,
        finest: float = FINEST,
    ):
        check_finest(finest)
        self.network = network
        self.noise = noise
        self.units = Standardisation(data, axis)
        self.finest = float(finest)

    def logdensity(self, x: Event, t: Scalar, y: Condition | None = None) -> Float[Array, ""]:
        """Log density of the noised distribution, up to a term that depends only on `t` and `y`."""
        at = self.units.at(self.noise, x, t)
        steepness = at.alpha / jnp.sqrt(at.sigma**2 + self.finest**2)
        output = self.network(at.u, at.level, y)
        return -0.5 * jnp.sum(at.u**2) - jnp.sum(steepness * at.u * output)

    def __call__(self, x: Event, t: Scalar, y: Condition | None = None) -> Event:
        """The score at one point `x` and time `t`."""
        return jax.grad(self.logdensity)(x, t, y)
