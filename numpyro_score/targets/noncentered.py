"""Hierarchies without funnels: sites whose location or scale depends on others, non-centered.

In a centered hierarchy `x ~ N(loc, scale)` with few data, `x` is confined to a neck where the scale
is small, which no single step size suits. With `x = loc + scale z` and `z ~ N(0, 1)` the same
posterior has no neck (Papaspiliopoulos, Roberts and Skold 2007, doi:10.1214/088342307000000014;
Betancourt and Girolami 2013, arXiv:1312.0906). NumPyro's `LocScaleReparam` makes the change.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.handlers import reparam
from numpyro.infer.inspect import get_dependencies
from numpyro.infer.reparam import LocScaleReparam

from numpyro_score.targets.sites import sites_of

FAMILIES: Mapping[type[dist.Distribution], tuple[str, ...]] = {
    dist.Normal: (),
    dist.Laplace: (),
    dist.Logistic: (),
    dist.Cauchy: (),
    dist.Gumbel: (),
    dist.StudentT: ("df",),
}
"""Location-scale families -> their further parameters."""


def _base(fn: Any) -> Any:
    """The distribution of one element."""
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution):
        fn = fn.base_dist
    return fn


def _is_family(fn: Any) -> bool:
    if type(_base(fn)) not in FAMILIES:
        return False
    support = fn.support
    return (
        support.base_constraint if isinstance(support, constraints.independent) else support
    ) is constraints.real


def _can_change(site: Mapping[str, Any]) -> bool:
    """Whether the posterior stays the same where this latent site is computed from a standard one.

    Not where its density is scaled: that of the standard one times the scale lacks a part of the
    Jacobian. A site that has its value when handlers see it is of `scan` or `cond`, in which the
    change would have to be made, or has been observed.
    """
    return site["value"] is None and site["scale"] is None and _is_family(site["fn"])


def centered_sites(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Latent sites of location-scale families whose parameters depend on other latent sites.

    Without those that cannot be computed from standard ones: sites within `scan` and `cond`, of
    scaled or masked density, or that depend on a discrete site, which is summed out.

    Parameters
    ----------
    model, args, kwargs
        A NumPyro model and what it is called with.

    Returns
    -------
    Site -> further parameters of its family; empty where there is none, or where NumPyro cannot
    find the dependencies, or a name `*_decentered` is taken.

    Examples
    --------
    >>> from numpyro_score.targets import eight_schools, eight_schools_centered
    >>> centered, other = eight_schools_centered(), eight_schools()
    >>> centered_sites(centered.model, centered.model_args, centered.model_kwargs)
    {'theta': ()}
    >>> centered_sites(other.model, other.model_args, other.model_kwargs)
    {}
    """
    try:
        return _look(model, args, dict(kwargs))
    except Exception:
        # a run that has begun goes on: what cannot be inspected stays centered
        return {}


def _look(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, tuple[str, ...]]:
    parents = get_dependencies(model, args, kwargs)["prior_dependencies"]
    assert isinstance(parents, dict)
    found: dict[str, tuple[str, ...]] = {}

    def note(site: Any) -> None:
        if _can_change(site):
            found[site["name"]] = FAMILIES[type(_base(site["fn"]))]

    def look(rng_key: Any) -> None:
        sites = sites_of(reparam(model, config=note), args, kwargs, rng_key)
        latent = {
            name
            for name, site in sites.items()
            if site["type"] == "sample" and not site["is_observed"]
        }
        discrete = {name for name in latent if sites[name]["fn"].support.is_discrete}
        for name in tuple(found):
            above = (set(parents.get(name, ())) - {name}) & latent
            # what is summed out has no value from which a site could be computed
            if not above or above & discrete:
                del found[name]
        # names may be taken already
        sites_of(noncentered(model, found), args, kwargs, rng_key)

    jax.eval_shape(look, jax.random.key(0))
    return found


def noncentered(
    model: Callable[..., Any], sites: Mapping[str, tuple[str, ...]]
) -> Callable[..., Any]:
    """The same model with these sites computed from standard ones, named `*_decentered`.

    Parameters
    ----------
    model
        A NumPyro model.
    sites
        As `centered_sites` returns them.

    Examples
    --------
    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro.handlers import seed, trace
    >>> def model():
    ...     scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    ...     numpyro.sample("x", dist.Normal(0.0, scale))
    >>> sites = trace(seed(noncentered(model, {"x": ()}), jax.random.key(0))).get_trace()
    >>> {name: site["type"] for name, site in sites.items()}
    {'scale': 'sample', 'x_decentered': 'sample', 'x': 'deterministic'}
    """
    rules = {name: LocScaleReparam(0.0, shape_params) for name, shape_params in sites.items()}
    return reparam(model, config=rules)
