"""Kernels that learn something of their target before the first step: once for it, and frozen.

Such a kernel anneals particles, or trains, when it is first initialized with a model's data; `run`
after `warmup`, or a second `run` on the same data, find what was learned. Chains start from the
particles unless they are given a start.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.util import is_prng_key

from numpyro_score.infer.adapter import AdapterKernel, MapChains
from numpyro_score.infer.state import AdapterState
from numpyro_score.types import Position, RngKey

type FlatLogDensity = Callable[[Float[Array, " dim"]], Float[Array, ""]]
"""Log density of a flat unconstrained position."""

# set apart from the keys that the adapter splits off the same one
LEARN, PLACE = 1001, 1002


@runtime_checkable
class Preparation(Protocol):
    """What was learned, with its cost."""

    @property
    def particles(self) -> Array:
        """`(num, dim)` flat positions for chains to start from."""
        ...

    @property
    def template(self) -> Position:
        """A position of the model's form, for its form alone."""
        ...

    @property
    def num_grad(self) -> int:
        """Gradients of the target that learning took."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of each phase of learning, compiling included."""
        ...


type Tell = Callable[[str, int, int], None]
"""`(phase, steps so far, steps in all)`, for a progress bar."""


class PreparedKernel(AdapterKernel):
    """An adapter's kernel that learns of its target before it starts; an interface."""

    _prepared: Preparation | None = None
    # the data that it learned from; None where it serves whatever data there are
    _prepared_for: tuple[Any, Any] | None = None
    # who is told of the progress; None for nobody
    _tell: Tell | None = None

    @abstractmethod
    def _prepare(
        self,
        rng_key: RngKey,
        template: Position,
        logdensity_fn: FlatLogDensity,
        args: Any,
        kwargs: dict[str, Any],
    ) -> Preparation:
        """Learn; `template` is a position of the model's form."""

    @property
    def attributes(self) -> dict[str, float]:
        """What a run records of the learning, by name; what it cost above all. Empty before it."""
        if self._prepared is None:
            return {}
        return {
            "num_grad_training": float(self._prepared.num_grad),
            "seconds_training": sum(self._prepared.seconds.values()),
        }

    def _is_prepared_for(self, args: Any, kwargs: Any) -> bool:
        if self._prepared is None:
            return False
        return self._prepared_for is None or same_arguments((args, kwargs), self._prepared_for)

    def _learn(self, rng_key: RngKey, args: Any, kwargs: dict[str, Any], init_params: Any) -> None:
        name = type(self).__name__
        if isinstance(rng_key, jax.core.Tracer):
            raise ValueError(
                f"{name} cannot learn while chains are being mapped or compiled "
                '(chain_method="parallel", or chain_batch_size). Let it learn first, '
                "kernel.fit(rng_key, *args), or use "
                'chain_method="vectorized".'
            )
        key_start, key_learn = jax.random.split(rng_key)
        position = self._problem.start(key_start, init_params, args, kwargs)
        logdensity_fn = self._problem.logdensity_fn(args, kwargs)
        assert logdensity_fn is not None  # there is no score_fn
        _, unravel = ravel_pytree(position)

        def flat_logdensity(x: Array) -> Array:
            return logdensity_fn(unravel(x))

        template = jax.tree.map(jnp.zeros_like, position)
        self._prepared = self._prepare(key_learn, template, flat_logdensity, args, kwargs)
        self._prepared_for = (args, kwargs)

    def fit(self, rng_key: RngKey, *args: Any, init_params: Any = None, **kwargs: Any) -> Any:
        """Learn of the target now; once for the kernel and its data.

        Parameters
        ----------
        rng_key
            One key.
        args, kwargs
            What the model is called with.
        init_params
            One unconstrained position, needed without a model, for its shape alone.

        Returns
        -------
        What was learned, which the kernel keeps.

        Raises
        ------
        ValueError
            If exploration does not reach the target, or there is no position to learn shapes from.
        """
        if not self._is_prepared_for(args, kwargs):
            self._learn(rng_key, args, kwargs, init_params)
        return self._prepared

    def init(
        self,
        rng_key: Any,
        num_warmup: int,
        init_params: Any,
        model_args: tuple[Any, ...],
        model_kwargs: Mapping[str, Any] | None,
        *,
        map_chains: MapChains = jax.vmap,
    ) -> AdapterState:
        """State to start from; learns first if that has not been done for these data."""
        kwargs = dict(model_kwargs or {})
        is_single = is_prng_key(rng_key)
        first = rng_key if is_single else rng_key[0]
        if not self._is_prepared_for(model_args, kwargs):
            template = init_params
            if init_params is not None and not is_single:
                template = jax.tree.map(lambda x: jnp.asarray(x)[0], init_params)
            self._learn(jax.random.fold_in(first, LEARN), model_args, kwargs, template)
        if init_params is None and self._prepared is not None:
            init_params = self._places(self._prepared, rng_key)
        return super().init(
            rng_key, num_warmup, init_params, model_args, kwargs, map_chains=map_chains
        )

    def _places(self, prepared: Preparation, rng_key: Any) -> Any:
        """A particle for every key; a traced key chooses by another generator than a known one."""
        unravel = ravel_pytree(prepared.template)[1]
        particles = prepared.particles
        if isinstance(rng_key, jax.core.Tracer):
            place = partial(jax.random.randint, shape=(), minval=0, maxval=len(particles))
            apart = partial(jax.random.fold_in, data=PLACE)
            if is_prng_key(rng_key):
                return unravel(particles[place(apart(rng_key))])
            return jax.vmap(lambda key: unravel(particles[place(apart(key))]))(rng_key)
        is_typed = jnp.issubdtype(rng_key.dtype, jax.dtypes.prng_key)
        words = np.asarray(jax.random.key_data(rng_key) if is_typed else rng_key)
        rows = words.reshape(-1, words.shape[-1])
        index = [int(np.random.default_rng(row).integers(len(particles))) for row in rows]
        if is_prng_key(rng_key):
            return unravel(particles[index[0]])
        return jax.vmap(unravel)(jnp.asarray(np.asarray(particles)[index]))

    def refresh(self, state: AdapterState, model_args: Any, model_kwargs: Any) -> AdapterState:
        """Not possible: what was learned was learned of one target.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            f"{type(self).__name__} cannot be a block of Gibbs: what it learns, it learns of one "
            "posterior, and the other blocks change it at every step. Use MALA or NUTS for the "
            "block."
        )

    def wrap_model(self, wrapper: Callable[..., Any]) -> Self:
        """Copy of this kernel on `wrapper(model)`, which has learned nothing yet."""
        kernel = super().wrap_model(wrapper)
        kernel._prepared, kernel._prepared_for = None, None
        return kernel


@contextmanager
def telling(kernel: Any, tell: Tell) -> Iterator[None]:
    """While this lasts, a kernel that learns of its target tells how far it has come."""
    if not isinstance(kernel, PreparedKernel):
        yield
        return
    kernel._tell = tell
    try:
        yield
    finally:
        kernel._tell = None


def same_arguments(left: Any, right: Any) -> bool:
    """Whether two models' arguments are the same objects, or arrays of equal values."""
    structures: list[Any] = [jax.tree.structure(tree) for tree in (left, right)]
    if structures[0] != structures[1]:
        return False

    def one(a: Any, b: Any) -> bool:
        if a is b:
            return True
        if isinstance(a, jax.core.Tracer) or isinstance(b, jax.core.Tracer):
            return False
        return type(a) is type(b) and np.array_equal(np.asarray(a), np.asarray(b))

    return all(map(one, jax.tree.leaves(left), jax.tree.leaves(right)))
