"""A network as a posterior mean, fitted by regression on pairs `(observe(x, t), x)`.

The observation process says what the network is shown of `(y, t)`, and how its output becomes what
is known of `x`: a correction, in units of its own error, of what Gaussian data would give; log odds
of spins; a factor of a rate.

Montanari 2023, arXiv:2305.10690, section 4.
"""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.localization.base import Moments, Observation, ObservationProcess, Summary
from numpyro_score.types import Scalar

SMALLEST_SD = 1e-6
"""Relative to the largest coordinate's, so that a constant coordinate has a unit."""


@final
class MeanNetwork(eqx.Module):
    """A network that learns what is known of `x`; trained by `LocalizationRegression`.

    Parameters
    ----------
    network
        `network(u, level, None)` of one point of variance about 1 and a scalar, -> array like `u`:
        `TwoLayer` or `ResidualMLP` of `numpyro_score.scores`, of the shape of `x`; for `Erasure`
        of shape `(2, *shape)`.
    process
        The observations.
    data
        Draws of `x`, `(num, *shape)`: their mean and sd are the network's units.

    Raises
    ------
    TypeError
        If the network cannot be called.
    ValueError
        If the process cannot observe the data.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.localization import BinaryChannel
    >>> from numpyro_score.scores import ResidualMLP
    >>> spins = jnp.array([[1.0, 1.0], [-1.0, -1.0]])
    >>> network = ResidualMLP(2, width=16, rng_key=jax.random.key(0))
    >>> m = MeanNetwork(network, BinaryChannel(2), spins)
    >>> m(jnp.array([1.0, -1.0]), 0.5).round(2)  # untrained: what the channel says of each
    Array([ 0.5, -0.5], dtype=float32)
    """

    network: Callable[..., Any]
    process: ObservationProcess
    data: Moments

    def __init__(self, network: Callable[..., Any], process: ObservationProcess, data: Any):
        if not callable(network):
            raise TypeError(f"the network is a {type(network).__name__}, which cannot be called")
        process.check_points(data)
        values = np.asarray(data, float)
        sd = values.std(0)
        self.network = network
        self.process = process
        self.data = Moments(
            jnp.asarray(values.mean(0)), jnp.asarray(np.maximum(sd, SMALLEST_SD * (sd.max() or 1)))
        )

    def __call__(self, y: Observation, t: Scalar) -> Summary:
        """What the network takes to be known of `x` at `(y, t)`."""
        t = jnp.asarray(t, y.dtype)
        # units are no parameters: training leaves them alone
        data = jax.tree.map(lambda x: jax.lax.stop_gradient(x).astype(y.dtype), self.data)
        u, level = self.process.features(y, t, data)
        return self.process.link(self.network(u, level, None), y, t, data)
