"""Contrastive divergence: chains of k steps that start at the data.

CD-k follows roughly the gradient of `KL(p_data || p) - KL(p_k || p)`, where `p_k` is the
distribution of the data after k steps of a kernel that leaves the model's distribution p invariant.
The difference is never negative, is 0 where p is the distribution of the data, and tends to the
Kullback-Leibler divergence as k grows (Hinton 2002, doi:10.1162/089976602760128018).
"""

from collections.abc import Mapping
from typing import Any, final

import equinox as eqx
from jaxtyping import Array, Float

from numpyro_score.training.losses.base import Batch, as_batch
from numpyro_score.training.losses.negative_phase import (
    Chains,
    check_energy,
    check_penalty,
    contrast,
)
from numpyro_score.types import RngKey


@final
class ContrastiveDivergence(eqx.Module):
    """CD-k for an energy, with any kernel.

    Parameters
    ----------
    kernel
        In BlackJAX's protocol: `mala`, `ula`, `random_walk`, `blackjax.hmc`, ...
    parameters
        Its parameters by name, such as `{"step_size": 0.01}`.
    num_steps
        k, the steps of a chain.
    penalty
        Weight of the mean squared energies, 0 or more.

    Raises
    ------
    ValueError
        If k is below 1 or the penalty below 0; when called, if the kernel refuses its parameters.
    TypeError
        When called, if the model has no energy.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> from numpyro_score.kernels import mala
    >>> class Quadratic(eqx.Module):
    ...     mean: jax.Array
    ...
    ...     def energy(self, x):
    ...         return jnp.sum((x - self.mean) ** 2) / 2
    >>> loss = ContrastiveDivergence(mala, {"step_size": 0.5}, num_steps=10)
    >>> data = 3.0 + jax.random.normal(jax.random.key(0), (1000, 1))
    >>> gradient = eqx.filter_grad(loss)(Quadratic(jnp.zeros(1)), data, jax.random.key(1))
    >>> bool(gradient.mean[0] < -2.5)  # towards the data, 3 away
    True
    """

    chains: Chains
    penalty: float = eqx.field(static=True)

    def __init__(
        self,
        kernel: Any,
        parameters: Mapping[str, Any],
        num_steps: int = 1,
        penalty: float = 0.0,
    ) -> None:
        check_penalty(penalty)
        self.chains = Chains(kernel, parameters, num_steps)
        self.penalty = penalty

    def __call__(self, model: Any, batch: Batch, rng_key: RngKey) -> Float[Array, ""]:
        """Contrast of a batch `(batch, *event)` with where its chains end."""
        batch = as_batch(batch)
        check_energy(model, batch[0])
        particles = self.chains.run(model, batch, rng_key)
        return contrast(model, batch, particles, self.penalty)
