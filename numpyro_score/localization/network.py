"""A network as a posterior mean, trained by regression on pairs `(observe(x, t), x)`.

The observation process defines the network's inputs and the meaning of its output: a correction to
the posterior mean of Gaussian data, in posterior sds; log odds of spins; or the log factor of a
rate.

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
"""Smallest sd relative to the largest, for coordinates that are constant."""


@final
class MeanNetwork(eqx.Module):
    """A network that estimates the posterior mean; it is trained by `LocalizationRegression`.

    Parameters
    ----------
    network
        `network(u, level, None)` with one point `u` of variance about 1 and a scalar -> array like
        `u`: `TwoLayer` or `ResidualMLP` of `numpyro_score.scores`, for points of the shape of `x`,
        or of shape `(2, *shape)` for `Erasure`.
    process
        The observations.
    data
        Draws of `x`, `(num, *shape)`, whose mean and sd standardise the network's input.

    Raises
    ------
    TypeError
        The network cannot be called.
        ValueError
            The process cannot observe the data.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from numpyro_score.localization import BinaryChannel
    >>> from numpyro_score.scores import ResidualMLP
    >>> spins = jnp.array([[1.0, 1.0], [-1.0, -1.0]])
    >>> network = ResidualMLP(2, width=16, rng_key=jax.random.key(0))
    >>> m = MeanNetwork(network, BinaryChannel(2), spins)
    >>> m(jnp.array([1.0, -1.0]), 0.5).round(
    ...     2
    ... )  # untrained: the posterior of independent fair spins
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
        """The network's estimate of the posterior summary at `(y, t)`."""
        t = jnp.asarray(t, y.dtype)
        # mean and sd are not trained
        data = jax.tree.map(lambda x: jax.lax.stop_gradient(x).astype(y.dtype), self.data)
        u, level = self.process.features(y, t, data)
        return self.process.link(self.network(u, level, None), y, t, data)
