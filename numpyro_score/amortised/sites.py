"""The latent sites of a model as one unconstrained vector, in the order that kernels use."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import biject_to
from numpyro.handlers import seed, trace

from numpyro_score.distributions.supports import as_event, unconstrained
from numpyro_score.targets.simulated import WithData


class Site(NamedTuple):
    """A latent site.

    Attributes
    ----------
    name, shape, support
        Its name, the shape of one value, its support with all axes of the shape as event.
    """

    name: str
    shape: tuple[int, ...]
    support: Any

    @property
    def size(self) -> int:
        """Unconstrained coordinates."""
        return math.prod(biject_to(self.support).inverse_shape(self.shape))


def latent_sites(
    model: Callable[..., Any],
    names: tuple[str, ...],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> tuple[Site, ...]:
    """The latent sites of a model, sorted by name as in a kernel's position.

    Raises
    ------
    ValueError
        If one is discrete or improper, there are none, or a support depends on other sites.
    """

    def sites_of(key: int) -> dict[str, Any]:
        free = WithData(model, names, None)
        try:
            sites = trace(seed(free, jax.random.key(key))).get_trace(*args, **kwargs)
        except NotImplementedError as error:
            raise ValueError(
                "the prior of the model cannot be sampled, because the prior of a site is "
                "improper; give every site a proper prior"
            ) from error
        return {
            name: site
            for name, site in sites.items()
            if site["type"] == "sample" and not site["is_observed"] and name not in names
        }

    sites, again = sites_of(0), sites_of(1)
    if not sites:
        raise ValueError("the model has no latent site, so that there is no posterior to learn")
    found = []
    for name in sorted(sites):
        distribution, shape = sites[name]["fn"], jnp.shape(sites[name]["value"])
        if distribution.support.is_discrete:
            raise ValueError(
                f"the latent site {name!r} is discrete; sum it out of the model, since only "
                "continuous posteriors can be learned"
            )
        if not distribution.support.eq(again[name]["fn"].support, static=True):
            raise ValueError(
                f"the support of {name!r} depends on other sites; write the model so that it does "
                "not, by scaling a variable of fixed support"
            )
        found.append(Site(name, shape, as_event(distribution.support, len(shape))))
    return tuple(found)


def to_vector(sites: tuple[Site, ...], values: Mapping[str, Any]) -> Float[np.ndarray, "num dim"]:
    """Unconstrained vectors of draws by site, `(num, *shape)` each, in double precision.

    Raises
    ------
    ValueError
        If a value lies on the boundary of its support.
    """
    parts = [
        unconstrained(site.support, np.asarray(values[site.name], np.float64)) for site in sites
    ]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def to_values(sites: tuple[Site, ...], u: Float[Array, " dim"]) -> dict[str, Array]:
    """Site values of one unconstrained vector."""
    ends = np.cumsum([site.size for site in sites])[:-1].tolist()
    values = {}
    for site, part in zip(sites, jnp.split(u, ends), strict=True):
        transform = biject_to(site.support)
        values[site.name] = transform(part.reshape(transform.inverse_shape(site.shape)))
    return values


def from_values(
    sites: tuple[Site, ...], values: Mapping[str, Any]
) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
    """The unconstrained vector of site values, and the log determinant of its transform."""
    parts, volume = [], jnp.zeros(())
    for site in sites:
        transform = biject_to(site.support)
        x = jnp.asarray(values[site.name], jnp.result_type(float))
        u = transform.inv(x)
        volume = volume + transform.log_abs_det_jacobian(u, x)
        parts.append(u.reshape(-1))
    return jnp.concatenate(parts), volume
