"""Supports of concatenated variables: read off a model, and encoded for a file.

Distributions are learned in unconstrained coordinates, by NumPyro's `biject_to` of the support.
Several variables are concatenated to one vector, and so are their supports.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to, constraints
from numpyro.handlers import block, seed, trace
from numpyro.infer import MCMC

BOUNDED = {
    "greater_than": ("lower_bound",),
    "greater_than_eq": ("lower_bound",),
    "less_than": ("upper_bound",),
    "less_than_eq": ("upper_bound",),
    "interval": ("lower_bound", "upper_bound"),
    "open_interval": ("lower_bound", "upper_bound"),
}
"""Constraints with bounds -> names of the bounds."""

FIXED = {
    type(value): name
    for name, value in vars(constraints).items()
    if isinstance(value, constraints.Constraint) and not name.startswith("_")
}
"""Constraints without parameters, by their class."""


class Variable(NamedTuple):
    """One of the variables that are concatenated.

    Attributes
    ----------
    name, shape
        Its name, and the shape of one draw.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers one draw has."""
        return math.prod(self.shape)


def elementwise(support: Any, shape: tuple[int, ...], name: str) -> Any:
    """The support of a variable whose numbers are flattened to one vector.

    Raises
    ------
    ValueError
        If the support constrains the numbers jointly, as a simplex does.
    """
    while hasattr(support, "reinterpreted_batch_ndims"):
        support = support.base_constraint
    if support.event_dim > 0:
        raise ValueError(
            f"{name} has the support {support}, which constrains its numbers jointly, so that it "
            "cannot be concatenated with other variables; learn its distribution separately, "
            f"fit(draws[{name!r}], support=...)"
        )
    names = BOUNDED.get(name_of(support) or "", ())
    if not names:
        return support
    bounds = [np.asarray(getattr(support, bound)) for bound in names]
    rows = [x if x.ndim == 0 else np.broadcast_to(x, shape).reshape(-1) for x in bounds]
    return type(support)(*rows)


def joined(variables: Sequence[Variable], supports: Mapping[str, Any]) -> Any:
    """The support of the concatenation of several variables; real where none is given.

    Parameters
    ----------
    variables
        In their order.
    supports
        Variable -> constraint.

    Raises
    ------
    ValueError
        If a name is not that of a variable, or a support cannot be concatenated.
    """
    unknown = set(supports) - {variable.name for variable in variables}
    if unknown:
        raise ValueError(
            f"support has {', '.join(sorted(unknown))}, which are no variables of the draws "
            f"({', '.join(variable.name for variable in variables)})"
        )
    parts = [
        elementwise(supports.get(name, constraints.real), shape, name) for name, shape in variables
    ]
    if all(part is constraints.real for part in parts):
        return constraints.real_vector
    sizes = [variable.size for variable in variables]
    return constraints.independent(constraints.cat(parts, dim=-1, lengths=sizes), 1)


def as_event(support: Any, event_dim: int) -> Any:
    """The support as one of events with `event_dim` axes.

    Raises
    ------
    TypeError
        If it is not a constraint of NumPyro.
    ValueError
        If it is discrete, or its own events have more axes.
    """
    if not isinstance(support, constraints.Constraint):
        raise TypeError(
            f"support is a {type(support).__name__}; give a constraint of "
            "numpyro.distributions.constraints, or a dict of them by variable"
        )
    if support.is_discrete:
        raise ValueError(f"the support {support} is discrete; give draws of a continuous variable")
    own = support.event_dim
    if own > event_dim:
        raise ValueError(
            f"the support {support} needs draws with {own} axes, but a draw has {event_dim}"
        )
    if own == event_dim:
        return support
    return constraints.independent(support, event_dim - own)


def unconstrained(support: Any, values: np.ndarray) -> np.ndarray:
    """Unconstrained coordinates of draws `(num, *event)`, in double precision.

    Raises
    ------
    ValueError
        If draws are outside of the support, or on its boundary.
    """
    with jax.enable_x64(True):
        x = jnp.asarray(values, jnp.float64)
        inside = np.asarray(support(x)).reshape(len(values), -1).all(axis=1)
        u = np.asarray(biject_to(support).inv(x))
    num_bad = int((~inside | ~np.isfinite(u).reshape(len(u), -1).all(axis=1)).sum())
    if num_bad:
        raise ValueError(
            f"{num_bad} of {len(values)} draws are outside of the support {support}, or on its "
            "boundary; give the support of the variable, or leave those draws out"
        )
    return u


def supports_of(mcmc: MCMC, names: Sequence[str]) -> dict[str, Any]:
    """Supports of the sites of a fitted MCMC's model; empty without a model."""
    model: Callable[..., Any] | None = getattr(mcmc.sampler, "model", None)
    if model is None:
        return {}
    args, kwargs = getattr(mcmc, "_args", ()), getattr(mcmc, "_kwargs", {}) or {}
    with block():
        sites = trace(seed(model, jax.random.key(0))).get_trace(*(args or ()), **kwargs)
    return {
        name: sites[name]["fn"].support
        for name in names
        if name in sites and sites[name]["type"] == "sample"
    }


def name_of(support: Any) -> str | None:
    """The name of a constraint in `numpyro.distributions.constraints`; None if it has none."""
    if type(support) in FIXED:
        return FIXED[type(support)]
    for name in BOUNDED:
        if type(support) is getattr(constraints, name):
            return name
    return None


def encode(support: Any) -> dict[str, Any]:
    """A support as JSON.

    Raises
    ------
    TypeError
        If it is not one of NumPyro's without parameters or with bounds, or made of these.
    """
    name = name_of(support)
    if name in BOUNDED:
        bounds = [np.asarray(getattr(support, bound)).tolist() for bound in BOUNDED[name]]
        return {"name": name, "bounds": bounds}
    if name is not None:
        return {"name": name}
    if hasattr(support, "reinterpreted_batch_ndims"):
        axes = support.reinterpreted_batch_ndims
        return {"independent": encode(support.base_constraint), "axes": axes}
    if hasattr(support, "cseq"):
        return {"joined": [encode(part) for part in support.cseq], "sizes": list(support.lengths)}
    raise TypeError(
        f"the support {support} cannot be written to a file; those of "
        "numpyro.distributions.constraints without parameters or with bounds can, and pickle "
        "writes any"
    )


def decode(code: Mapping[str, Any]) -> Any:
    """The support that `encode` wrote.

    Raises
    ------
    ValueError
        If it is not a support that `encode` writes.
    """
    match code:
        case {"name": str(name), "bounds": list(bounds)} if name in BOUNDED:
            rows = [
                np.asarray(x, np.result_type(float)) if isinstance(x, list) else x for x in bounds
            ]
            return getattr(constraints, name)(*rows)
        case {"name": str(name)} if name in FIXED.values():
            return getattr(constraints, name)
        case {"independent": base, "axes": int(axes)}:
            return constraints.independent(decode(base), axes)
        case {"joined": list(parts), "sizes": list(sizes)}:
            return constraints.cat([decode(part) for part in parts], dim=-1, lengths=sizes)
    raise ValueError(f"the support {code} is unknown to this version; upgrade numpyro-score")
