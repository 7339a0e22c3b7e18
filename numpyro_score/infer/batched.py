"""The interface of kernels that take a batch of keys for a batch of chains, and know how to map."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import jax
from numpyro.infer.mcmc import MCMCKernel

type MapChains = Callable[[Callable[..., Any]], Callable[..., Any]]
"""One chain's function -> that of a batch of chains: `jax.vmap`, or what computes the same."""


class BatchedKernel(MCMCKernel):
    """A NumPyro kernel of one chain for one key, of a batch of chains for a batch of keys.

    `numpyro_score.sample` hands it the way to map a chain's function over all of them.
    """

    @abstractmethod
    def init(
        self,
        rng_key: Any,
        num_warmup: int,
        init_params: Any,
        model_args: tuple[Any, ...],
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
    ) -> Any:
        """State to start from, of one chain for one key, of as many chains for a batch of keys.

        Parameters
        ----------
        rng_key, num_warmup, init_params, model_args, model_kwargs
            As for every NumPyro kernel.
        map_chains
            Makes a function of one chain one of all of them; what NumPyro does not ask for.
        """

    @abstractmethod
    def sample(
        self,
        state: Any,
        model_args: Any,
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
        is_frozen: bool = False,
    ) -> Any:
        """One step of every chain.

        Parameters
        ----------
        state, model_args, model_kwargs
            As for every NumPyro kernel.
        map_chains
            As for `init`.
        is_frozen
            True where the warmup is known to be over, for a program without a branch.
        """
