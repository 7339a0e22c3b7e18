"""Parameters of a model, which no kernel samples: they stay at their initial values.

NumPyro's `param` is for optimisation. In a run it is a constant: that of a network made by
`flax_module` is a random one, whose posterior a user may believe to see.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax

from numpyro_score.run.check import PACKAGE
from numpyro_score.targets.sites import sites_of

OF_A_NETWORK = "$params"
"""How NumPyro ends the name of a network's parameters. With priors for them (`random_flax_module`)
they are there too, beside sample sites that begin with the same name."""


def fixed_parameters(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[str]:
    """Names of the parameters that have their initial values.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with. Parameters with other values, given by
        `numpyro.handlers.substitute`, are left out.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> from numpyro.handlers import substitute
    >>> def model():
    ...     numpyro.sample("x", dist.Normal(numpyro.param("loc", 1.0), 1.0))
    >>> fixed_parameters(model, (), {})
    ['loc']
    >>> fixed_parameters(substitute(model, data={"loc": 2.0}), (), {})
    []
    """
    found: list[str] = []

    def look() -> None:
        sites = sites_of(model, args, kwargs)
        sampled = [name for name, site in sites.items() if site["type"] == "sample"]
        found[:] = [
            name
            for name, site in sites.items()
            if site["type"] == "param" and _is_initial(site) and not _has_prior(name, sampled)
        ]

    jax.eval_shape(look)
    return found


def _is_initial(site: Mapping[str, Any]) -> bool:
    if site["args"]:
        return site["value"] is site["args"][0]
    # drawn by a function of a key, in this trace
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(site["value"]))


def _has_prior(name: str, sampled: list[str]) -> bool:
    network = name.removesuffix(OF_A_NETWORK)
    inside = (f"{network}.", f"{network}/")
    return network != name and any(site.startswith(inside) for site in sampled)


def warn_of_parameters(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    """Warn of parameters that stay at their initial values.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with.

    Returns
    -------
    Whether there are any.

    Warns
    -----
    UserWarning
        If there are any; they are named.
    """
    names = fixed_parameters(model, args, kwargs)
    if names:
        warnings.warn(
            f"the model has parameters that no kernel samples: {', '.join(names)} stay at their "
            "initial values, which are random for a network. Give them priors (numpyro.sample, "
            "random_flax_module), or fitted values by numpyro.handlers.substitute(model, data=...)",
            skip_file_prefixes=(PACKAGE,),
        )
    return bool(names)
