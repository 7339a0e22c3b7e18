"""Persistent contrastive divergence: chains that go on from step to step of the training.

The model changes little in one step of the training, so chains that continue from their last
positions stay close to its distribution, and in time move far from the data (Tieleman 2008,
doi:10.1145/1390156.1390290). The positions of the chains are the loss's state.
"""

from collections.abc import Mapping
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.training.losses.base import Batch, StatefulLoss, as_batch
from numpyro_score.training.losses.negative_phase import (
    Chains,
    check_energy,
    check_penalty,
    contrast,
)
from numpyro_score.types import RngKey


@final
class PersistentContrastiveDivergence(StatefulLoss):
    """PCD-k for an energy, with any kernel. Its state is the chains' positions `(batch, *event)`.

    Parameters
    ----------
    kernel
        In BlackJAX's protocol: `mala`, `ula`, `random_walk`, `blackjax.hmc`, ...
    parameters
        Its parameters by name, such as `{"step_size": 0.01}`.
    num_steps
        k, the steps of every chain between two steps of the training.
    restart_rate
        Probability with which a chain starts again from a data point, in [0, 1] (Du and Mordatch
        2019, arXiv:1903.08689, who restart one in twenty); 1 is contrastive divergence.
    penalty
        Weight of the mean squared energies, 0 or more.

    Raises
    ------
    ValueError
        If k is below 1, the rate not in [0, 1] or the penalty below 0; when called, if the kernel
        refuses its parameters.
    TypeError
        When called, if the model has no energy.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from types import SimpleNamespace
    >>> from numpyro_score.kernels import mala
    >>> model = SimpleNamespace(energy=lambda x: jnp.sum(x**2) / 2)
    >>> loss = PersistentContrastiveDivergence(mala, {"step_size": 0.5}, num_steps=10)
    >>> data = 3.0 + jax.random.normal(jax.random.key(0), (1000, 1))
    >>> particles = loss.init(model, data, jax.random.key(1))
    >>> update = jax.jit(lambda key, particles: loss.update(model, data, key, particles))
    >>> for key in jax.random.split(jax.random.key(2), 5):
    ...     value, particles = update(key, particles)
    >>> bool(jnp.abs(particles.mean()) < 0.2)  # from the data to the model's mean
    True
    """

    chains: Chains
    restart_rate: float = eqx.field(static=True)
    penalty: float = eqx.field(static=True)

    def __init__(
        self,
        kernel: Any,
        parameters: Mapping[str, Any],
        num_steps: int = 1,
        restart_rate: float = 0.0,
        penalty: float = 0.0,
    ) -> None:
        if not 0 <= restart_rate <= 1:
            raise ValueError(f"restart_rate is {restart_rate:g} but must lie between 0 and 1")
        check_penalty(penalty)
        self.chains = Chains(kernel, parameters, num_steps)
        self.restart_rate = restart_rate
        self.penalty = penalty

    def init(self, model: Any, batch: Batch, rng_key: RngKey) -> Batch:
        """Chains that start at a batch of data."""
        del rng_key
        batch = as_batch(batch)
        check_energy(model, batch[0])
        return batch

    def update(
        self, model: Any, batch: Batch, rng_key: RngKey, state: Batch
    ) -> tuple[Float[Array, ""], Batch]:
        """Contrast of a batch with the chains, k steps on; there are as many as at the start."""
        batch = as_batch(batch)
        check_energy(model, batch[0])
        key_chains, key_restart, key_place = jax.random.split(rng_key, 3)
        if self.restart_rate > 0:
            restarts = jax.random.bernoulli(key_restart, self.restart_rate, (len(state),))
            place = jax.random.randint(key_place, (len(state),), 0, len(batch))
            lead = (len(state), *(1,) * (state.ndim - 1))
            state = jnp.where(restarts.reshape(lead), batch[place], state)
        particles = self.chains.run(model, state, key_chains)
        return contrast(model, batch, particles, self.penalty), particles
