"""A NumPyro model as a density: its potential energy, starting points and constrained values.

NumPyro works with the potential energy `E = -log p`, this package with the log density. `negate`
changes one into the other.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt32
from numpyro.handlers import seed, substitute
from numpyro.infer.initialization import init_to_uniform
from numpyro.infer.util import (
    _prepare_model_for_potential,
    _transforms_from_trace,
    constrain_fn,
    initialize_model,
    potential_energy,
    transform_fn,
    unconstrain_fn,
)
from numpyro.util import is_prng_key

from numpyro_score.compilation import ONCE, is_tracing
from numpyro_score.extras import extra
from numpyro_score.targets.start import why_not_initialized
from numpyro_score.types import LogDensityFn, Position, RngKey

KEPT_SITES = ("param", "mutable")
"""Types of sites whose values a kernel keeps."""


NO_SITE = "no latent site"
"""Name of the only entry of a position of a model without latent sites."""


def negate(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Potential energy from a log density, or a log density from a potential energy."""
    return partial(_negated, fn)


def _negated(fn: Callable[[Any], Any], position: Position) -> Float[Array, ""]:
    return -fn(position)


def _as_array(energy: Callable[[Any], Any], position: Position) -> Float[Array, ""]:
    """The energy; of a model without any random site it is the number 0, which is no array."""
    value = energy(position)
    return value if isinstance(value, jax.Array) else jnp.asarray(value, float)


class ModelFunctions(eqx.Module):
    """What a model gives a kernel, as functions of the model's own arguments.

    A pytree, so that a compiled program can return it.

    Attributes
    ----------
    model
        The model as NumPyro's kernels use it: with default keys, its discrete sites enumerated.
    values
        Values of sites that are neither sampled nor observed: parameters, mutable state.
    transforms
        Site name -> transform from its unconstrained to its constrained value.
    has_dynamic_support
        Whether a site's support depends on other sites, so that `transforms` cannot be relied on.
    is_replayed
        Whether constrained values are read off a run of the model: it has deterministic sites, or
        supports that depend on other sites.
    is_enumerated
        Whether discrete latent sites are summed out.
    """

    values: Mapping[str, Any]
    transforms: Mapping[str, Any]
    model: Callable[..., Any] = eqx.field(static=True)
    has_dynamic_support: bool = eqx.field(static=True)
    is_replayed: bool = eqx.field(static=True)
    is_enumerated: bool = eqx.field(static=True)

    def _bound(self) -> Callable[..., Any]:
        return substitute(self.model, data=dict(self.values)) if self.values else self.model

    def logdensity_fn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> LogDensityFn:
        """Log density of the unconstrained position, given the model's arguments."""
        energy = partial(
            potential_energy, self._bound(), args, dict(kwargs), enum=self.is_enumerated
        )
        return negate(partial(_as_array, energy))

    def postprocess_fn(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Callable[[Position], Any]:
        """Function from an unconstrained position to all sites, deterministic ones included."""
        if not self.is_replayed:
            return self.constrain
        return partial(constrain_fn, self._bound(), args, dict(kwargs), return_deterministic=True)

    def constrain(self, position: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the sites at an unconstrained position, without running the model."""
        return transform_fn(self.transforms, position)


def initialize(
    rng_key: RngKey | Key[Array, " chain"] | UInt32[Array, "chain 2"],
    model: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    init_strategy: Callable[..., Any] = init_to_uniform,
) -> tuple[Position, ModelFunctions, Bool[Array, "*chain"]]:
    """Starting points of a model, and its functions; may be traced, and is one program where not.

    Parameters
    ----------
    rng_key
        One key, or a batch of keys `(chain,)` for as many starting points.
    model, args, kwargs
        A callable of NumPyro primitives and what it is called with.
    init_strategy
        Where to start, as for NumPyro's HMC.

    Returns
    -------
    The unconstrained sites, with a leading chain axis for a batch of keys (of a model without any,
    but deterministic sites, an array of size 0 named `NO_SITE`); the functions; whether
    density and gradient are finite at the points, which traced code cannot raise an error about.

    Raises
    ------
    ValueError
        No starting point of finite log density and gradient was found (the message names the
        sites at fault), a discrete latent site cannot be summed out, or there is neither a
        continuous latent site nor a deterministic one.
    ImportError
        There are discrete sites to sum out and funsor is not installed.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> def model():
    ...     numpyro.sample("scale", dist.Exponential(1.0))
    >>> position, functions, is_valid = initialize(jax.random.key(0), model)
    >>> functions.logdensity_fn((), {})(position).shape
    ()
    """
    find = partial(_find_start, model, args, dict(kwargs or {}), init_strategy)
    if is_tracing():
        return find(rng_key)
    found = jax.jit(find, compiler_options=ONCE)(rng_key)
    # NumPyro says what is wrong where it sees values
    is_known = not isinstance(found[2], jax.core.Tracer)
    return find(rng_key) if is_known and not np.all(np.asarray(found[2])) else found


def _find_start(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    init_strategy: Callable[..., Any],
    rng_key: Any,
) -> tuple[Position, ModelFunctions, Bool[Array, "*chain"]]:
    """What `initialize` returns."""
    try:
        with extra("enum", "funsor", "summing out the model's discrete latent sites needs"):
            info = initialize_model(
                rng_key,
                model,
                init_strategy=init_strategy,
                dynamic_args=True,
                model_args=args,
                model_kwargs=kwargs,
            )
    except RuntimeError as error:
        why = why_not_initialized(error, rng_key, model, args, kwargs)
        if why is None:
            raise
        raise ValueError(why) from error
    found = info.param_info
    position = found.z
    if not jax.tree.leaves(position):
        if not any(site["type"] == "deterministic" for site in info.model_trace.values()):
            raise ValueError(
                "the model has no continuous latent site, so there is nothing to sample (discrete "
                "ones are summed out); give it a numpyro.sample(...) statement of a continuous "
                "distribution without obs=."
            )
        # a position of size 0 has a chain axis, which an empty dict has not
        axes = () if is_prng_key(rng_key) else (len(rng_key),)
        position = {NO_SITE: jnp.zeros((*axes, 0))}
    return position, _functions(model, info.model_trace), _is_finite(found, rng_key)


def _functions(model: Callable[..., Any], model_trace: Mapping[str, Any]) -> ModelFunctions:
    """The model's functions, as `initialize_model` makes them, apart from the arrays in them."""
    # what NumPyro's own HMC and Gibbs read off a trace
    read = _transforms_from_trace(model_trace, raise_warnings=False)
    kept = {name: site for name, site in model_trace.items() if site["type"] in KEPT_SITES}
    rest = {name: site for name, site in model_trace.items() if name not in kept}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # initialize_model has raised them
        whole = _prepare_model_for_potential(model, rest, enum=read.has_enumerate_support)
    return ModelFunctions(
        values={name: site["value"] for name, site in kept.items()},
        transforms=read.inv_transforms,
        model=whole,
        has_dynamic_support=read.dynamic_support,
        is_replayed=read.has_deterministic or read.dynamic_support,
        is_enumerated=read.has_enumerate_support,
    )


def _is_finite(found: Any, rng_key: Any) -> Bool[Array, "*chain"]:
    """Whether energy and gradient of each start are finite."""
    axes = 0 if is_prng_key(rng_key) else 1
    leaves = [found.potential_energy, *jax.tree.leaves(found.z_grad)]
    finite = [jnp.all(jnp.isfinite(x), axis=tuple(range(axes, jnp.ndim(x)))) for x in leaves]
    return jnp.all(jnp.stack(finite), axis=0)


def unconstrain(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Unconstrained position of the given constrained site values."""
    # sites without a value here, which are summed out or hidden, need a key to have one
    return unconstrain_fn(seed(model, jax.random.key(0)), args, dict(kwargs), dict(values))
