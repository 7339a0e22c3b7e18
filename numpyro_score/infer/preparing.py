"""When a sampler learns of its target: once for a model's data, when it is first initialized.

`run` after `warmup`, or a second `run` on the same data, find what was learned. Chains start from
its particles unless they are given a start.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.util import is_prng_key

from numpyro_score.fingerprint import fingerprint
from numpyro_score.infer.sampler import Context
from numpyro_score.learned.preparation import Given, Preparation
from numpyro_score.progress import ProgressCallback
from numpyro_score.types import RngKey

# keep these keys apart from those that the kernel splits off the same one
LEARN, CHOOSE = 1001, 1002


class Preparer:
    """Runs a sampler's `prepare`, and keeps what came of it.

    Parameters
    ----------
    owner
        Name of the kernel, for messages.
    prepare, template
        As in `Sampler`; None for a sampler that learns nothing.
    preparation
        What was learned elsewhere, and serves whatever the data.
    """

    def __init__(
        self,
        owner: str,
        prepare: Callable[..., Preparation] | None,
        preparation: Preparation | None = None,
        template: Any = None,
    ) -> None:
        self._owner = owner
        self._prepare = prepare
        self._template = template
        self.preparation = preparation
        # fingerprints of the data and of the density that it was learned from; None where it serves
        # whatever there is
        self._data: str | None = None
        self._density: str | None = None

    @property
    def learned(self) -> Any:
        """What the steps use; None before it is learned."""
        return None if self.preparation is None else self.preparation.learned

    @property
    def arrays(self) -> Any:
        """The arrays of `learned`, which a compiled program is given when it runs."""
        return eqx.filter(self.learned, eqx.is_array)

    def learned_with(self, arrays: Any) -> Any:
        """`learned` with these arrays in place of its own."""
        return eqx.combine(arrays, eqx.filter(self.learned, eqx.is_array, inverse=True))

    @property
    def attributes(self) -> dict[str, Any]:
        """What a run records."""
        return {} if self.preparation is None else dict(self.preparation.attributes)

    def is_ready(self, args: Any, kwargs: Any, problem: Any = None) -> bool:
        """Whether there is nothing to learn for these data: the values count, not the objects."""
        if self.preparation is None:
            return False
        if self._data is None:
            return True
        is_same = problem is None or fingerprint(problem.given) == self._density
        return is_same and fingerprint(args, kwargs) == self._data

    def run(
        self,
        rng_key: RngKey,
        problem: Any,
        args: Any,
        kwargs: dict[str, Any],
        init_params: Any,
        progress: ProgressCallback | None,
    ) -> None:
        """Learn, unless that was done for these data.

        Raises
        ------
        ValueError
            If there is nothing to learn, the shape of a position is not known, or chains are
            being mapped or compiled.
        """
        if self._prepare is None:
            raise ValueError(f"{self._owner} learns nothing before it runs; there is none to fit.")
        if isinstance(self.preparation, Given):
            raise ValueError(f"{self._owner} was given what it uses, and has nothing to fit.")
        if self.is_ready(args, kwargs, problem):
            return
        if isinstance(rng_key, jax.core.Tracer):
            raise ValueError(
                f"{self._owner} cannot learn while chains or data sets are mapped or compiled "
                '(chain_method="parallel", chain_batch_size, or sbc). Let it learn first, '
                'kernel.fit(rng_key, *args), or use chain_method="vectorized". For sbc, whose '
                "data sets would each need a training, take a kernel that learns nothing before "
                "it runs, such as MALA."
            )
        key_start, key_learn = jax.random.split(rng_key)
        if init_params is None and problem.model is None:
            init_params = self._template
            if init_params is None:
                raise ValueError(
                    f"{self._owner} without a model does not know the shape of a position: give "
                    "reference=, a distribution over the flat position, and chains start from "
                    "what exploration finds; or init_params, one starting point a chain."
                )
        position = problem.start(key_start, init_params, args, kwargs)
        density = problem.logdensity_fn(args, kwargs)
        context = Context(density, problem.model, args, kwargs, None, jax.vmap)
        template = jax.tree.map(jnp.zeros_like, position)
        self.preparation = self._prepare(key_learn, template, context, progress)
        self._data = fingerprint(args, kwargs)
        self._density = fingerprint(problem.given)

    def start(
        self,
        rng_key: Any,
        problem: Any,
        args: Any,
        kwargs: dict[str, Any],
        init_params: Any,
        progress: ProgressCallback | None,
    ) -> Any:
        """Starting points, those given or else a particle for each key; learns first."""
        is_single = is_prng_key(rng_key)
        if not self.is_ready(args, kwargs, problem):
            one = init_params
            if init_params is not None and not is_single:
                one = jax.tree.map(lambda x: jnp.asarray(x)[0], init_params)
            key = jax.random.fold_in(rng_key if is_single else rng_key[0], LEARN)
            self.run(key, problem, args, kwargs, one, progress)
        assert self.preparation is not None
        if init_params is not None or self.preparation.particles is None:
            return init_params
        return _particles_for(self.preparation, rng_key)


def _particles_for(preparation: Preparation, rng_key: Any) -> Any:
    """A particle for every key; a traced key chooses by another generator than a known one."""
    unravel = ravel_pytree(preparation.template)[1]
    particles = preparation.particles
    assert particles is not None
    if isinstance(rng_key, jax.core.Tracer):
        choose = partial(jax.random.randint, shape=(), minval=0, maxval=len(particles))
        own_key = partial(jax.random.fold_in, data=CHOOSE)
        if is_prng_key(rng_key):
            return unravel(particles[choose(own_key(rng_key))])
        return jax.vmap(lambda key: unravel(particles[choose(own_key(key))]))(rng_key)
    is_typed = jnp.issubdtype(rng_key.dtype, jax.dtypes.prng_key)
    words = np.asarray(jax.random.key_data(rng_key) if is_typed else rng_key)
    rows = words.reshape(-1, words.shape[-1])
    index = [int(np.random.default_rng(row).integers(len(particles))) for row in rows]
    if is_prng_key(rng_key):
        return unravel(particles[index[0]])
    return jax.vmap(unravel)(jnp.asarray(np.asarray(particles)[index]))
