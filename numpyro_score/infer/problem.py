"""What a NumPyro kernel samples: a model, or a function given in its place, and where it starts."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool
from numpyro.infer.gibbs import GIBBS_SITES_KWARG
from numpyro.infer.initialization import init_to_uniform
from numpyro.util import identity, is_prng_key

from numpyro_score.kernels.base import check_scalar
from numpyro_score.targets.numpyro_model import (
    ModelFunctions,
    initialize,
    negate,
    unconstrain,
)
from numpyro_score.targets.start import check_start, nonfinite_sites
from numpyro_score.types import LogDensityFn, Position


class FoundStart(NamedTuple):
    """What `Problem.start` finds out about a model; a pytree, which a compiled program returns.

    Attributes
    ----------
    functions
        The model's functions.
    is_valid
        Whether density and gradient are finite where the model's own starts are, one a chain.
    """

    functions: ModelFunctions
    is_valid: Bool[Array, "*chain"]


class Problem:
    """A model and its functions, or a potential energy, or a log density, or a score alone.

    Parameters
    ----------
    owner
        Name of the kernel, for messages.
    model, potential_fn, logdensity_fn
        Exactly one of the three; none where only a score is known.
    init_strategy
        Where chains of a model start.
    needs_density
        False allows none of the three.

    Attributes
    ----------
    found
        What the last `start` found out about the model; None before it, and without a model.

    Raises
    ------
    ValueError, TypeError
        If none or several are given, or one cannot be called.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> problem = Problem("My kernel", None, lambda x: 0.5 * jnp.sum(x**2), None)
    >>> float(problem.logdensity_fn((), {})(jnp.ones(2)))
    -1.0
    """

    def __init__(
        self,
        owner: str,
        model: Callable[..., Any] | None,
        potential_fn: Callable[[Any], Any] | None,
        logdensity_fn: LogDensityFn | None,
        init_strategy: Callable[..., Any] = init_to_uniform,
        *,
        needs_density: bool = True,
    ) -> None:
        given = {"model": model, "potential_fn": potential_fn, "logdensity_fn": logdensity_fn}
        given = {name: fn for name, fn in given.items() if fn is not None}
        if len(given) != 1 and (given or needs_density):
            raise ValueError(
                f"{owner} needs exactly one of model, potential_fn and logdensity_fn, but got "
                f"{' and '.join(given) or 'none'}; model= takes a NumPyro model, potential_fn= a "
                "negative log density, logdensity_fn= a log density."
            )
        for name, fn in given.items():
            if not callable(fn):
                raise TypeError(f"{name} must be callable, but is a {type(fn).__name__}.")
        self.owner = owner
        self.model = model
        self._given = logdensity_fn if potential_fn is None else negate(potential_fn)
        self._init_strategy = init_strategy
        self.found: FoundStart | None = None

    @property
    def given(self) -> Callable[..., Any] | None:
        """What is sampled, as it was given: the model, or the log density; None for a score."""
        return self._given if self.model is None else self.model

    def logdensity_fn(self, args: Any, kwargs: Any) -> LogDensityFn | None:
        """Log density of an unconstrained position; None where only a score is known."""
        if self.found is None:
            return self._given
        return self.found.functions.logdensity_fn(args, kwargs or {})

    def start(self, rng_key: Any, init_params: Any, args: Any, kwargs: dict[str, Any]) -> Position:
        """Where the chains start; makes the model's functions on the way.

        Raises
        ------
        ValueError
            If the start is missing or misshapen, or the model cannot be started.
        """
        if init_params is not None:
            init_params = jax.tree.map(jnp.asarray, init_params)
        if self.model is None:
            if init_params is None:
                raise ValueError(
                    f"{self.owner} without a model cannot know where to start: give init_params "
                    "to run(), one starting point a chain."
                )
            self._check_given(rng_key, init_params)
            return init_params
        # where starts are given, one of the model's own is enough to make its functions
        is_one_for_all = init_params is not None and not is_prng_key(rng_key)
        position, functions, is_valid = initialize(
            rng_key[0] if is_one_for_all else rng_key,
            self.model,
            args,
            kwargs,
            init_strategy=self._init_strategy,
        )
        self.found = FoundStart(functions, is_valid)
        if init_params is None:
            return position
        if GIBBS_SITES_KWARG in kwargs:
            if functions.has_dynamic_support:
                raise ValueError(
                    f"{self.owner} cannot be a block of Gibbs on this model: the support of a "
                    "site depends on another site; sample the model in one block without Gibbs."
                )
            # as a block of Gibbs the kernel is handed constrained values
            init_params = unconstrain(self.model, args, kwargs, init_params)
        axes = (len(rng_key),) if is_one_for_all else ()
        expected = jax.tree.map(lambda x: (*axes, *x.shape), position)
        shapes = jax.tree.map(jnp.shape, init_params)
        if shapes != expected:
            raise ValueError(
                f"init_params has shapes {shapes} but the model's unconstrained sites have "
                f"{expected}; give every latent site in unconstrained coordinates, with a "
                "leading chain axis for several chains."
            )
        return init_params

    def _check_given(self, rng_key: Any, init_params: Position) -> None:
        """Check the value of a log density that was given, at the start of one chain.

        Raises
        ------
        ValueError, TypeError
            If it is no real scalar, or JAX cannot trace the function.
        """
        leaves = jax.tree.leaves(init_params)
        is_one = is_prng_key(rng_key)
        # other positions are refused by the kernels, or are discrete
        is_usual = all(
            jnp.issubdtype(leaf.dtype, jnp.floating) and (is_one or leaf.ndim) for leaf in leaves
        )
        if self._given is None or not is_usual:
            return
        one = init_params if is_one else jax.tree.map(lambda x: x[0], init_params)
        try:
            value = jax.eval_shape(self._given, one)
        except jax.errors.TracerArrayConversionError as error:
            raise TypeError(
                f"the density that {self.owner} was given makes a NumPy array of the position, "
                "which JAX cannot differentiate or compile; write it with jax.numpy."
            ) from error
        check_scalar(value)

    def is_started(self, *, was_given: bool) -> bool:
        """Whether starts were found, of the model's own or else given ones."""
        return was_given or self.found is None or bool(np.all(np.asarray(self.found.is_valid)))

    def check_start(self, rng_key: Any, kernel_state: Any, args: Any, kwargs: Any) -> None:
        """Refuse a start of log density or gradient that is not finite, naming the sites.

        Raises
        ------
        ValueError
            If one is not finite.
        """
        if self.model is None and self._given is None:
            return

        def culprits(chain: int) -> list[str]:
            if self.model is None:
                return []
            z = kernel_state.position
            one = z if is_prng_key(rng_key) else jax.tree.map(lambda x: x[chain], z)
            return nonfinite_sites(self.model, args, kwargs, one)

        grad = getattr(kernel_state, "logdensity_grad", None)
        check_start(kernel_state.logdensity, grad, culprits)

    def postprocess_fn(self, args: Any, kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained position to all sites, deterministic ones included."""
        if self.found is None:
            return identity
        return self.found.functions.postprocess_fn(args, kwargs or {})

    def constrain_fn(self, args: Any, kwargs: Any) -> Callable[[Any], Any]:
        """Function from an unconstrained position to latent sites, without running the model."""
        if self.found is None or self.found.functions.has_dynamic_support:
            return self.postprocess_fn(args, kwargs)
        return self.found.functions.constrain

    def with_model(self, wrapper: Callable[..., Any]) -> Self:
        """The problem of `wrapper(model)`.

        Raises
        ------
        ValueError
            If there is no model.
        """
        if self.model is None:
            raise ValueError(
                "wrap_model needs a kernel that was built on a NumPyro model; give model=."
            )
        problem = copy.copy(self)
        problem.model = wrapper(self.model)
        problem.found = None
        return problem

    def __getstate__(self) -> dict[str, Any]:
        # what start makes of the model, it makes again
        return {**self.__dict__, "found": None}
