"""The bounds of a model's sites, which say whether draws are too near to them.

Recorded as an attribute of a run, and used by `diagnostics/saturation.py`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
from numpyro.distributions import constraints

from numpyro_score.diagnostics.saturation import BOUNDS
from numpyro_score.targets.sites import sites_of


def site_bounds(
    model: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, str]:
    """The attribute that names latent sites between two bounds, and simplices; empty if none is.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with; None where there is no model.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> def model():
    ...     numpyro.sample("p", dist.Beta(0.5, 0.5))
    ...     numpyro.sample("x", dist.Normal(0.0, 1.0))
    >>> site_bounds(model, (), {}), site_bounds(None, (), {})
    ({'site_bounds': '{"p": [0.0, 1.0]}'}, {})
    """
    if model is None:
        return {}
    found: dict[str, tuple[float, float]] = {}

    def look() -> None:
        for name, site in sites_of(model, args, kwargs).items():
            if site["type"] == "sample" and not site["is_observed"]:
                bounds = _of(site["fn"].support)
                if bounds is not None:
                    found[name] = bounds

    jax.eval_shape(look)
    return {BOUNDS: json.dumps(found)} if found else {}


def _of(support: Any) -> tuple[float, float] | None:
    if isinstance(support, constraints.independent):
        return _of(support.base_constraint)
    if support is constraints.simplex:
        return 0.0, 1.0
    if support.is_discrete or not hasattr(support, "upper_bound"):
        return None
    bounds: Any = getattr(support, "lower_bound", None), support.upper_bound
    try:
        lower, upper = (float(bound) for bound in bounds)
    except TypeError:
        # one for each entry, or known only when the model runs
        return None
    return (lower, upper) if upper < float("inf") and lower > -float("inf") else None
