"""Deterministic sites that depend on a discrete site that is summed out.

Where NumPyro sums a discrete site out, it has all of its values at once, and what is computed from
it has an axis more: not a draw, but the value for each of them, whatever the data.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from numpyro_score.diagnostics.formatting import listed
from numpyro_score.run.check import PACKAGE
from numpyro_score.targets.sites import sites_of


def of_summed_out(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[str]:
    """Deterministic sites whose draws have another shape than the model gives them.

    Parameters
    ----------
    model, args, kwargs
        The model and what it is called with.
    shapes
        Site -> shape of one draw of the run.

    Examples
    --------
    >>> import numpyro, numpyro.distributions as dist
    >>> def model():
    ...     z = numpyro.sample("z", dist.Bernoulli(0.5))
    ...     numpyro.deterministic("twice", 2 * z)
    >>> of_summed_out(model, (), {}, {"twice": (2,)})
    ['twice']
    """
    found: list[str] = []

    def look() -> None:
        for name, site in sites_of(model, args, kwargs).items():
            is_here = site["type"] == "deterministic" and name in shapes
            if is_here and np.shape(site["value"]) != shapes[name]:
                found.append(name)

    jax.eval_shape(look)
    return found


def warn_of_summed_out(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Warn of deterministic sites that are no draws.

    Parameters
    ----------
    model, args, kwargs, shapes
        As for `of_summed_out`.

    Warns
    -----
    UserWarning
        If there are any.
    """
    names = of_summed_out(model, args, kwargs, shapes)
    if names:
        warnings.warn(
            f"{listed(names)} depends on a discrete site that is summed out: its values in the "
            "result are those for every value of that site, and no draws of the posterior. "
            "Compute it afterwards, from draws of the discrete site by "
            "numpyro.infer.Predictive(model, posterior_samples, infer_discrete=True)",
            skip_file_prefixes=(PACKAGE,),
        )
