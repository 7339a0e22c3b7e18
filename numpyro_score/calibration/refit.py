"""One refit: chains of a kernel on simulated data, traced, so that many refits are one program.

The kernel is constructed inside of the traced function, on the model with the simulated data. Only
NumPyro's protocol is used, so that any kernel that follows it can be calibrated.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.targets.simulated import Values, joint_log_densities
from numpyro_score.types import RngKey


class Refit(Protocol):
    """Draws of a posterior given data: site -> `(chain, draw, *event)`."""

    def __call__(self, rng_key: RngKey, model: Callable[..., Any], data: Values) -> Values:
        """Draws; the model has the data already."""
        ...


class Chains(NamedTuple):
    """Refits by chains of a kernel.

    Attributes
    ----------
    make_kernel
        `model -> kernel`.
    args, kwargs
        What the model is called with.
    num_warmup, num_samples, num_chains
        Of each refit.
    """

    make_kernel: Callable[[Callable[..., Any]], MCMCKernel]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    num_warmup: int
    num_samples: int
    num_chains: int

    def __call__(self, rng_key: RngKey, model: Callable[..., Any], data: Values) -> Values:
        """Draws of the kernel, with the deterministic sites."""
        del data
        kernel = self.make_kernel(model)
        args, kwargs = self.args, dict(self.kwargs)
        keys = jax.random.split(rng_key, self.num_chains)
        # kernels of this package take a batch of keys and pool their warmup; chains of an ensemble
        # move by where the others are
        is_batched = bool(getattr(kernel, "maps_chains", False)) or kernel.is_ensemble_kernel

        def start(key: Any) -> Any:
            return kernel.init(key, self.num_warmup, None, args, kwargs)

        def step(state: Any) -> Any:
            return kernel.sample(state, args, kwargs)

        if not is_batched:
            start, step = jax.vmap(start), jax.vmap(step)
        state = start(keys)
        state = jax.lax.fori_loop(0, self.num_warmup, lambda _, state: step(state), state)

        def keep(state: Any, _: None) -> tuple[Any, Any]:
            state = step(state)
            return state, getattr(state, kernel.sample_field)

        _, z = jax.lax.scan(keep, state, None, self.num_samples)
        z = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), z)
        return jax.vmap(jax.vmap(kernel.postprocess_fn(args, kwargs)))(z)


@runtime_checkable
class DrawsGivenData(Protocol):
    """An amortised posterior: independent draws given any data, and their density."""

    def sample(self, rng_key: RngKey, data: Any, num: int = ...) -> Values:
        """Draws `(num, *event)` by site."""
        ...

    def log_prob(self, values: Mapping[str, Any], data: Any) -> Float[Array, ""]:
        """Log density of one set of values."""
        ...


class Amortised(NamedTuple):
    """Refits by draws of an amortised posterior, without a chain.

    Attributes
    ----------
    posterior
        The amortised posterior.
    num
        Draws of each refit.
    """

    posterior: DrawsGivenData
    num: int

    def __call__(self, rng_key: RngKey, model: Callable[..., Any], data: Values) -> Values:
        """Independent draws, as one chain."""
        del model
        return jax.tree.map(lambda x: x[None], self.posterior.sample(rng_key, data, self.num))


def quantities(
    model: Callable[..., Any],
    names: tuple[str, ...],
    data: Values,
    values: Values,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> dict[str, Float[Array, "..."]]:
    """What is ranked of one set of values: the values, and two joint log densities."""
    floats = {
        name: x for name, x in values.items() if jnp.issubdtype(jnp.result_type(x), jnp.floating)
    }
    return {**floats, **joint_log_densities(model, names, data, values, args, kwargs)}
