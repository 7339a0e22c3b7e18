"""The log density of a NumPyro model on one flat unconstrained vector.

With unconstrained latent sites `u` and their constrained values `x = T(u)`,

    log p(u) = log p(T(u), data) + log |det dT/du|.

The vector holds the raveled sites sorted by name, the order of `jax.flatten_util.ravel_pytree`. It
has no fixed float type, so that one target serves float32 and float64.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import biject_to
from numpyro.infer.util import potential_energy

from numpyro_score.targets.numpyro_model import negate
from numpyro_score.targets.sites import sites_of
from numpyro_score.types import LogDensityFn

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def unravel_sites(x: Float[Array, " dim"], shapes: Shapes) -> dict[str, Float[Array, "..."]]:
    """A flat vector as a dict of unconstrained sites.

    Parameters
    ----------
    x
        flat unconstrained position `(dim,)`.
    shapes
        pairs of site name and unconstrained shape, in the vector's order.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> sites = unravel_sites(jnp.arange(3.0), (("a", (2,)), ("b", ())))
    >>> {name: value.shape for name, value in sites.items()}
    {'a': (2,), 'b': ()}
    """
    ends = np.cumsum([math.prod(shape) for _, shape in shapes])
    starts = [0, *ends[:-1]]
    return {
        name: x[start:end].reshape(shape)
        for (name, shape), start, end in zip(shapes, starts, ends, strict=True)
    }


def _latent_sites(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Float[Array, "..."]]:
    """Unconstrained values of the latent sites, of which only the shapes are used."""
    latent = {}
    for name, site in sites_of(model, args, kwargs).items():
        if site["type"] != "sample" or site["is_observed"]:
            continue
        support = site["fn"].support
        if support.is_discrete:
            raise ValueError(
                f"the model has the discrete latent site {name!r}; a flat log density needs "
                "continuous sites: sum it out of the model by hand"
            )
        latent[name] = biject_to(support).inv(site["value"])
    if not latent:
        raise ValueError("the model has no latent sample site; there is nothing to sample")
    return latent


def _flat_potential(
    x: Float[Array, " dim"],
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    shapes: Shapes,
) -> Float[Array, ""]:
    # JAX 0.12 caches a NumPy constant by its identity, in the float type in force when it first
    # saw it; an explicit conversion keeps one target usable in float32 and float64.
    args, kwargs = jax.tree.map(
        lambda a: jnp.asarray(a) if isinstance(a, np.ndarray) else a, (args, kwargs)
    )
    return potential_energy(model, args, kwargs, unravel_sites(x, shapes))


def flat_logdensity(
    model: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> tuple[LogDensityFn, int]:
    """The unconstrained log density of a NumPyro model, and its dimension.

    Parameters
    ----------
    model
        callable of NumPyro primitives, with continuous latent sites only.
    args, kwargs
        arguments of the model, data included.

    Returns
    -------
    `logdensity_fn`, flat unconstrained position `(dim,)` -> scalar, and `dim`. Only the shapes of
    the model are traced; nothing is computed.

    Raises
    ------
    ValueError
        the model has no latent site, or a discrete one.

    Examples
    --------
    >>> import jax.numpy as jnp, numpyro, numpyro.distributions as dist
    >>> def model():
    ...     numpyro.sample("scale", dist.Exponential(1.0))
    >>> logdensity_fn, dim = flat_logdensity(model)
    >>> dim, float(logdensity_fn(jnp.zeros(1)))  # scale = 1: -1, and log |d scale / du| = 0
    (1, -1.0)
    """
    kwargs = dict(kwargs or {})
    latent = jax.eval_shape(partial(_latent_sites, model, args, kwargs))
    shapes = tuple((name, tuple(latent[name].shape)) for name in sorted(latent))
    dim = sum(math.prod(shape) for _, shape in shapes)
    potential_fn = partial(_flat_potential, model=model, args=args, kwargs=kwargs, shapes=shapes)
    return negate(potential_fn), dim
