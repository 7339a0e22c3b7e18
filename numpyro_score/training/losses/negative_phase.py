"""The negative phase of training an energy: chains of any kernel that sample the current model.

The gradient of the mean log likelihood of data under `p = exp(-E) / Z` is

    -E_data[grad E] + E_p[grad E],    since grad log Z = -E_p[grad E].

The second mean is taken over the ends of Markov chains (Hinton 2002,
doi:10.1162/089976602760128018). The losses of this room are `mean E(data) - mean E(chains)`: their
gradient at fixed chains is the one above with its sign changed, but their value is not a
likelihood.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from numpyro_score.checks import check_whole
from numpyro_score.training.losses.base import Batch, output_of
from numpyro_score.types import RngKey

if TYPE_CHECKING:
    import blackjax


def check_energy(model: Any, point: Any) -> None:
    """Refuse a model that has no energy.

    Raises
    ------
    TypeError
        If it has no method `energy`.
    ValueError
        If its energy is not one number a point, or does not take such a point.
    """
    if not callable(getattr(model, "energy", None)):
        raise TypeError(
            f"the model, a {type(model).__name__}, has no method energy(x); contrastive divergence "
            "and maximum likelihood train an energy such as numpyro_score.scores.EnergyNet, and a "
            "score network has none: train it by score matching"
        )
    shape = jnp.shape(output_of(model.energy, point))
    if shape != ():
        raise ValueError(f"the energy of one point has shape {shape} but must be a scalar")


@final
class Chains(eqx.Module):
    """A given number of steps of a kernel, for a batch of chains.

    Parameters
    ----------
    kernel
        In BlackJAX's protocol: `mala`, `ula`, `random_walk`, `blackjax.hmc`, or any function
        `(logdensity_fn, **parameters) -> SamplingAlgorithm`.
    parameters
        Its parameters by name, such as `{"step_size": 0.01}`.
    num_steps
        k, at least 1.

    Raises
    ------
    ValueError
        If `num_steps` is below 1.
    TypeError
        If the kernel cannot be called.
    """

    kernel: Callable[..., "blackjax.SamplingAlgorithm"]
    parameters: dict[str, Any]
    num_steps: int = eqx.field(static=True)

    def __init__(self, kernel: Any, parameters: Mapping[str, Any], num_steps: int) -> None:
        if not callable(kernel):
            raise TypeError(
                f"the kernel is a {type(kernel).__name__}; give one in BlackJAX's protocol, such "
                "as numpyro_score.mala"
            )
        check_whole("num_steps", num_steps, hint="a chain makes at least 1 step")
        # the function within, since the object around it has no hash to be found again by
        self.kernel = getattr(kernel, "differentiable", kernel)
        self.parameters = dict(parameters)
        self.num_steps = num_steps

    def run(self, model: Any, positions: Batch, rng_key: RngKey) -> Batch:
        """Ends of chains that start at `positions`, through which no gradient passes.

        Parameters
        ----------
        model
            With `energy(x)`.
        positions
            `(chain, *event)`.
        rng_key
            For all chains.

        Raises
        ------
        ValueError, TypeError
            If the kernel refuses its parameters.
        """
        arrays, rest = eqx.partition(model, eqx.is_array)
        model = eqx.combine(jax.lax.stop_gradient(arrays), rest)
        algorithm = self.kernel(lambda x: -model.energy(x), **self.parameters)

        def chain(rng_key: RngKey, position: Float[Array, "*event"]) -> Float[Array, "*event"]:
            key_init, key_steps = jax.random.split(rng_key)

            def step(i: Array, state: Any) -> Any:
                return algorithm.step(jax.random.fold_in(key_steps, i), state)[0]

            state = algorithm.init(position, key_init)
            return jax.lax.fori_loop(0, self.num_steps, step, state).position

        keys = jax.random.split(rng_key, len(positions))
        return jax.lax.stop_gradient(jax.vmap(chain)(keys, jax.lax.stop_gradient(positions)))


def contrast(model: Any, batch: Batch, particles: Batch, penalty: float) -> Float[Array, ""]:
    """`mean E(batch) - mean E(particles)`, plus `penalty` times the mean squared energies.

    The penalty holds the energies near 0, where otherwise only their differences matter (Du and
    Mordatch 2019, arXiv:1903.08689, section 3.3).
    """
    data, model_energy = (jax.vmap(model.energy)(x) for x in (batch, particles))
    difference = jnp.mean(data) - jnp.mean(model_energy)
    if penalty == 0:
        return difference
    return difference + penalty * (jnp.mean(data**2) + jnp.mean(model_energy**2))


def check_penalty(penalty: float) -> None:
    """Refuse a penalty below 0."""
    if not penalty >= 0:
        raise ValueError(f"penalty is {penalty:g} but must not be below 0")
