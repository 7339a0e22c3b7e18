"""The space in which independent draws live: where there is no chain, there is no start."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.util import is_prng_key

from numpyro_score.compilation import is_tracing
from numpyro_score.infer.problem import FoundStart, Problem
from numpyro_score.targets.numpyro_model import initialize
from numpyro_score.types import LogDensityFn, Position


class DrawSpace:
    """The space of independent draws: that of a model's unconstrained sites, or of points.

    Has the methods of `Problem`. Draws do not depend on where a chain starts; `init_params` is what
    warmup shows, zeros by default.

    Parameters
    ----------
    owner
        Name of the kernel, for messages.
    model
        A NumPyro model, whose sites are joined as `ravel_pytree` joins them; None for points.
    shape
        Shape of one point, as far as it is known; `(dim,)` for a model.
    make
        `shape -> sampler`, which raises if there is none of such points; None if any shape will do.

    Raises
    ------
    ValueError, TypeError
        If there is neither a model nor a shape, or no sampler of points of this shape.

    Examples
    --------
    >>> import jax
    >>> space = DrawSpace("My kernel", None, (2, 3), None)
    >>> space.start(jax.random.key(0), None, (), {}).shape
    (2, 3)
    """

    def __init__(
        self,
        owner: str,
        model: Callable[..., Any] | None,
        shape: tuple[int, ...] | None,
        make: Callable[[tuple[int, ...]], Any] | None,
    ) -> None:
        self.owner = owner
        self.density = Problem(owner, model, None, None, needs_density=False)
        self.shape = shape
        self._make = make
        self._made: dict[tuple[int, ...], Any] = {}
        if model is None and shape is None:
            raise ValueError(
                f"{owner} has no model and its score does not know the shape of a point; give "
                "shape=, such as (2,)"
            )
        if shape is not None:
            self.make(shape)

    @property
    def model(self) -> Callable[..., Any] | None:
        """The NumPyro model, or None."""
        return self.density.model

    @property
    def found(self) -> FoundStart | None:
        """As of a `Problem`."""
        return self.density.found

    @found.setter
    def found(self, found: FoundStart | None) -> None:
        self.density.found = found

    def make(self, shape: tuple[int, ...]) -> Any:
        """The sampler of points of this shape."""
        if self._make is None:
            return None
        if shape not in self._made:
            # within a trace, too, its plan is made of numbers: operation by operation
            with jax.ensure_compile_time_eval() if is_tracing() else nullcontext():
                self._made[shape] = self._make(shape)
        return self._made[shape]

    def logdensity_fn(self, args: Any, kwargs: Any) -> LogDensityFn | None:
        """Log density of the model; None without one."""
        return self.density.logdensity_fn(args, kwargs)

    def start(self, rng_key: Any, init_params: Any, args: Any, kwargs: dict[str, Any]) -> Position:
        """What chains show before the first draw; makes the model's functions on the way.

        Raises
        ------
        ValueError
            If the points are not those of the model, or `init_params` are not such points.
        """
        is_single = is_prng_key(rng_key)
        axes = () if is_single else (len(rng_key),)
        one = self._template(rng_key if is_single else rng_key[0], args, kwargs)
        z = jax.tree.map(lambda x: jnp.zeros((*axes, *x.shape), x.dtype), one)
        if init_params is None:
            return z
        expected = jax.tree.map(jnp.shape, z)
        given = jax.tree.map(jnp.shape, init_params)
        if given != expected:
            raise ValueError(
                f"init_params has shapes {given} but draws have {expected}; leave it out: "
                "draws do not depend on it"
            )
        return jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), init_params, z)

    def _template(self, rng_key: Any, args: Any, kwargs: dict[str, Any]) -> Position:
        """A point of one chain; its values are ignored."""
        model = self.model
        if model is None:
            assert self.shape is not None
            return jnp.zeros(self.shape)
        # shapes alone, so that a score that does not fit is refused before anything is compiled
        shapes = jax.eval_shape(lambda key: initialize(key, model, args, kwargs)[0], rng_key)
        sizes = {name: int(np.prod(x.shape)) for name, x in shapes.items()}
        dim = sum(sizes.values())
        what = (
            f"{self.owner}: the model has {dim} unconstrained latent coordinates "
            f"({', '.join(f'{name}: {size}' for name, size in sizes.items())})"
        )
        if self.shape not in (None, (dim,)):
            raise ValueError(
                f"{what}, but the score is one of points of shape {self.shape}; give a score that "
                f"was made for shape ({dim},), on the sites in this order"
            )
        try:
            self.make((dim,))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what}, and no sampler of such points can be made: {error}") from (
                error
            )
        return self.density.start(rng_key, None, args, kwargs)

    def is_started(self, *, was_given: bool) -> bool:
        """As of a `Problem`; a point that is given does not stand in for the model's."""
        del was_given
        return self.density.is_started(was_given=False)

    def check_start(self, rng_key: Any, kernel_state: Any, args: Any, kwargs: Any) -> None:
        """Nothing to check: draws do not depend on a start."""

    def postprocess_fn(self, args: Any, kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained draw to all sites, deterministic ones included."""
        return self.density.postprocess_fn(args, kwargs)

    def constrain_fn(self, args: Any, kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained draw to latent sites, without running the model."""
        return self.density.constrain_fn(args, kwargs)

    def with_model(self, wrapper: Callable[..., Any]) -> Self:
        """The space of `wrapper(model)`.

        Raises
        ------
        ValueError
            If there is no model.
        """
        # not by `copy`, which leaves out the samplers that were made
        space = type(self).__new__(type(self))
        space.__dict__.update(self.__dict__)
        space.density = self.density.with_model(wrapper)
        return space

    def __getstate__(self) -> dict[str, Any]:
        # samplers have functions that cannot be pickled
        return {**self.__dict__, "_made": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # made where `__init__` makes them: within a trace their plan would be rounded otherwise
        self.__dict__.update(state)
        if self.shape is not None:
            self.make(self.shape)
