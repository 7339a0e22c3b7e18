"""What a sampler learns of its target before the first step, as every such sampler returns it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float

from numpyro_score.types import Position

type FlatLogDensity = Callable[[Float[Array, " dim"]], Float[Array, ""]]
"""Log density of a flat unconstrained position."""


LEARNING_WARNINGS = "learning_warnings"
"""Attribute of a run: what was warned of when something was learned, a line for each."""

ONE_SIDED = "num_regions_one_sided"
"""Attribute of a run: regions that one kind of exploration found and the other did not."""


@runtime_checkable
class Preparation(Protocol):
    """What was learned, where chains can start, and what it cost.

    Examples
    --------
    >>> isinstance(Given(learned=3.0), Preparation)
    True
    """

    @property
    def learned(self) -> Any:
        """What the steps use, a pytree."""
        ...

    @property
    def particles(self) -> Float[Array, "num dim"] | None:
        """Flat positions for chains to start from; None where chains start elsewhere."""
        ...

    @property
    def template(self) -> Position:
        """A position of the model's structure and shapes; its values are ignored."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What a run records: the cost of learning, the quality of what was learned."""
        ...


class Given(NamedTuple):
    """Something learned elsewhere, at no cost here.

    Attributes
    ----------
    learned
        What the steps use.

    Examples
    --------
    >>> Given(learned=3.0).attributes
    {}
    """

    learned: Any
    particles: None = None
    template: Position = ()

    @property
    def attributes(self) -> dict[str, float]:
        """Nothing: it was not learned in this run."""
        return {}


def cost_attributes(num_grad: int, seconds: Mapping[str, float]) -> dict[str, float]:
    """What a run records of the cost of learning.

    Parameters
    ----------
    num_grad
        Gradients of the target that learning evaluated.
    seconds
        Phase -> seconds, compilation included.
    """
    return {"num_grad_training": float(num_grad), "seconds_training": sum(seconds.values())}
