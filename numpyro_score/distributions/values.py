"""Conversion of draws to unconstrained vectors, with the support and shapes to convert back."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpyro.distributions import constraints
from numpyro.infer import MCMC

from numpyro_score.distributions.supports import (
    Variable,
    as_event,
    joined,
    supports_of,
    unconstrained,
)
from numpyro_score.training.data import as_points

NEAR = 0.5
"""Distance from 0, in standard deviations, within which draws of a positive variable come."""
ENOUGH = 100
"""Draws below which nothing is said of it: a few draws of any variable may be above 0."""
NUM_LOOKED_AT = 1_000
"""Evenly spaced draws whose distinct values are counted."""
MOST_ATOMS = 30
"""Distinct values of a variable up to which it looks discrete, if they are also at most a tenth of
the draws. Draws of a chain that rejects four fifths of its moves have twice as many."""


class Values(NamedTuple):
    """Draws to learn from.

    Attributes
    ----------
    unconstrained
        `(num, dim)`, in double precision.
    support
        Support of a value.
    event_shape
        Shape of a value.
    variables
        The variables that a value concatenates; empty for an array.
    """

    unconstrained: Float[np.ndarray, "num dim"]
    support: Any
    event_shape: tuple[int, ...]
    variables: tuple[Variable, ...]


def _variable(text: str) -> Variable:
    """From `name` or `name (3, 2)`, as `as_points` writes it."""
    name, separator, shape = text.rpartition(" (")
    if not separator:
        return Variable(text, ())
    return Variable(name, tuple(int(size) for size in shape.rstrip(")").split(",") if size))


def _names(looks: Bool[np.ndarray, " dim"], variables: tuple[Variable, ...]) -> list[str]:
    """Variables with at least one such coordinate; none of an array."""
    owner = np.repeat([one.name for one in variables], [one.size for one in variables])
    return list(dict.fromkeys(owner[looks].tolist())) if variables else []


def _warn_if_discrete(x: Float[np.ndarray, "num dim"], variables: tuple[Variable, ...]) -> None:
    """Warn of variables with so few distinct values that they look discrete."""
    if len(x) < ENOUGH:
        return
    some = np.sort(x[:: -(-len(x) // NUM_LOOKED_AT)], axis=0)
    distinct = 1 + (np.diff(some, axis=0) != 0).sum(axis=0)
    # constant ones are refused
    looks = (distinct > 1) & (distinct <= min(MOST_ATOMS, len(some) // 10))
    if not looks.any():
        return
    names = _names(looks, variables)
    about = ", ".join(names) if names else f"{looks.sum()} of {x.shape[1]} coordinates"
    warnings.warn(
        f"draws of {about} have only {distinct[looks].min()} distinct values among {len(some)}, "
        "and look discrete, or like those of chains that hardly moved: a density does not describe "
        "them, and what is learned of them is not reliable. Leave them out, or give more draws",
        UserWarning,
        stacklevel=4,
    )


def _warn_if_bounded(x: Float[np.ndarray, "num dim"], variables: tuple[Variable, ...]) -> None:
    """Warn of variables that look positive and are about to be learned on the real line.

    Draws that stay above 0, and come nearer to it than `NEAR` standard deviations, look so.
    """
    if len(x) < ENOUGH:
        return
    looks = (x.min(axis=0) > 0) & (x.min(axis=0) < NEAR * x.std(axis=0))
    if not looks.any():
        return
    names = _names(looks, variables)
    about = f" of {', '.join(names)}" if names else ""
    example = "constraints.positive" if not names else f"{{{names[0]!r}: constraints.positive}}"
    warnings.warn(
        f"all draws{about} are above 0 and come near it, but no support is given: what is learned "
        f"reaches beyond 0. Give support={example}, or constraints.unit_interval",
        UserWarning,
        stacklevel=4,
    )


def as_values(data: Any, support: Any) -> Values:
    """Draws in any form that `LearnedDistribution.fit` takes, as unconstrained vectors.

    Parameters
    ----------
    data, support
        As in `LearnedDistribution.fit`.

    Raises
    ------
    ValueError, TypeError
        As in `LearnedDistribution.fit`.
    """
    points = as_points(data, np.float64)
    x = points.arrays
    if isinstance(x, tuple):
        raise ValueError(
            "the draws come with conditions; LearnedConditional.fit(values, conditions) learns "
            "their distribution given a condition"
        )
    variables = tuple(_variable(text) for text in points.variables)
    _warn_if_discrete(x.reshape(len(x), -1), variables)
    if support is None and not isinstance(data, MCMC):
        _warn_if_bounded(x.reshape(len(x), -1), variables)
    if support is None and isinstance(data, MCMC) and variables:
        support = supports_of(data, [variable.name for variable in variables])
    if variables and support is not None and not isinstance(support, Mapping):
        if len(variables) > 1:
            raise ValueError(
                f"the draws are of {len(variables)} variables "
                f"({', '.join(variable.name for variable in variables)}); give support= as a dict "
                "of constraints by variable"
            )
        support = {variables[0].name: support}
    if not variables and isinstance(support, Mapping):
        raise ValueError("the draws are an array without names; give support= as one constraint")
    if len(variables) == 1:
        # a single variable keeps its shape and its support, which may constrain numbers jointly
        (only,) = variables
        x = x.reshape(len(x), *only.shape)
        unknown = set(support or {}) - {only.name}
        if unknown:
            joined(variables, support)  # raises the error that lists the names
        support = (support or {}).get(only.name)
    elif variables:
        support = joined(variables, support or {})
    support = as_event(constraints.real if support is None else support, x.ndim - 1)
    return Values(unconstrained(support, x).reshape(len(x), -1), support, x.shape[1:], variables)
