"""Maximum likelihood for an energy, by long chains that start far from the data.

    grad mean log p(data) = -E_data[grad E] + E_p[grad E]

with the second mean over the ends of chains that are long enough to be independent of their starts.
They do not start at the data, so that they also find regions to which the model wrongly gives mass.
This is the most expensive way to train an energy, and the one that the others approximate.

Hinton 2002, doi:10.1162/089976602760128018, replaces these by short chains.
"""

from collections.abc import Callable, Mapping
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.training.losses.base import Batch, as_batch
from numpyro_score.training.losses.negative_phase import (
    Chains,
    check_energy,
    check_penalty,
    contrast,
)
from numpyro_score.types import RngKey


def gaussian_start(rng_key: RngKey, batch: Batch) -> Batch:
    """Starts of chains: a Gaussian with the batch's means and twice its sds.

    Parameters
    ----------
    rng_key
        One random key.
    batch
        `(batch, *event)`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> gaussian_start(jax.random.key(0), jnp.ones((5, 2))).tolist()[0]  # data of no spread
    [1.0, 1.0]
    """
    mean, sd = jnp.mean(batch, axis=0), jnp.std(batch, axis=0)
    return mean + 2 * sd * jax.random.normal(rng_key, batch.shape, batch.dtype)


@final
class MaximumLikelihood(eqx.Module):
    """The likelihood's gradient for an energy, from long chains of any kernel.

    Parameters
    ----------
    kernel
        In BlackJAX's protocol: `mala`, `random_walk`, `blackjax.hmc`, ...
    parameters
        Its parameters by name, such as `{"step_size": 0.01}`.
    num_steps
        Steps of a chain, enough to reach the model's distribution from the start.
    start
        `(rng_key, batch) -> positions (chain, *event)`: where chains start.
    penalty
        Weight of the mean squared energies, 0 or more.

    Raises
    ------
    ValueError
        If there is no step or the penalty is below 0; when called, if the kernel refuses its
        parameters.
    TypeError
        When called, if the model has no energy.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from types import SimpleNamespace
    >>> from numpyro_score.kernels import mala
    >>> model = SimpleNamespace(energy=lambda x: jnp.sum((x - 3.0) ** 2) / 2)
    >>> loss = MaximumLikelihood(mala, {"step_size": 0.5}, num_steps=50)
    >>> data = 3.0 + jax.random.normal(jax.random.key(0), (1000, 1))
    >>> bool(jnp.abs(loss(model, data, jax.random.key(1))) < 0.2)  # data and model agree
    True
    """

    chains: Chains
    start: Callable[[Any, Any], Any]
    penalty: float = eqx.field(static=True)

    def __init__(
        self,
        kernel: Any,
        parameters: Mapping[str, Any],
        num_steps: int = 100,
        start: Callable[[Any, Any], Any] = gaussian_start,
        penalty: float = 0.0,
    ) -> None:
        check_penalty(penalty)
        self.chains = Chains(kernel, parameters, num_steps)
        self.start = start
        self.penalty = penalty

    def __call__(self, model: Any, batch: Batch, rng_key: RngKey) -> Float[Array, ""]:
        """Contrast of a batch `(batch, *event)` with the ends of the chains."""
        batch = as_batch(batch)
        check_energy(model, batch[0])
        key_start, key_chains = jax.random.split(rng_key)
        particles = self.chains.run(model, self.start(key_start, batch), key_chains)
        return contrast(model, batch, particles, self.penalty)
