"""Budgets of runs: what a run may cost in all, counted for every kernel alike.

The cost is that of exploring, training, warmup and draws, all chains together.
"""

import math
from dataclasses import dataclass
from typing import final

from numpyro_score.checks import check_positive
from numpyro_score.diagnostics.cost import Costs

MAX_DRAWS = 1_000_000
"""Draws of each chain within a budget of seconds, at most."""


@final
@dataclass(frozen=True)
class Evaluations:
    """A budget of evaluations of the log density, all chains together; a gradient counts as two.

    Attributes
    ----------
    number
        How many.

    Raises
    ------
    ValueError, TypeError
        If the number is not above 0 and finite.

    Examples
    --------
    >>> print(Evaluations(200_000))
    200,000 evaluations
    """

    number: float | int

    def __post_init__(self) -> None:
        check_positive("the budget's number of evaluations", self.number)

    def __str__(self) -> str:
        return f"{self.number:,.0f} evaluations"

    def of(self, spent: Costs) -> float:
        """That part of what was spent that the budget counts."""
        return spent.evaluations

    def max_draws(self, num_chains: int) -> int:
        """Draws of each chain that the budget allows at most: a draw costs at least one."""
        return max(math.ceil(self.number / num_chains), 1)


@final
@dataclass(frozen=True)
class Seconds:
    """A budget of seconds of training, warmup and sampling, without compiling the last two.

    Attributes
    ----------
    number
        How many.

    Raises
    ------
    ValueError, TypeError
        If the number is not above 0 and finite.

    Examples
    --------
    >>> print(Seconds(2.5))
    2.5 seconds
    """

    number: float | int

    def __post_init__(self) -> None:
        check_positive("the budget's number of seconds", self.number)

    def __str__(self) -> str:
        return f"{self.number:g} seconds"

    def of(self, spent: Costs) -> float:
        """That part of what was spent that the budget counts."""
        return spent.seconds

    def max_draws(self, num_chains: int) -> int:
        """Draws of each chain that the budget allows at most, since there is a limit to memory."""
        del num_chains
        return MAX_DRAWS


Budget = Evaluations | Seconds
"""What a run may cost."""


def check_affordable(budget: Budget, num_warmup: int, num_chains: int) -> None:
    """Check that a budget of evaluations pays for a warmup of one evaluation a step.

    Raises
    ------
    ValueError
        If it does not, so that no kernel could make a draw.

    Examples
    --------
    >>> check_affordable(Evaluations(1000), 500, 4)
    Traceback (most recent call last):
    ValueError: the budget of 1,000 evaluations does not pay for 500 steps of warmup of 4 chains...
    """
    least = num_warmup * num_chains
    if isinstance(budget, Evaluations) and budget.number <= least:
        raise ValueError(
            f"the budget of {budget} does not pay for {num_warmup} steps of warmup of {num_chains} "
            f"chains, which take at least {least:,} evaluations; give a larger budget, fewer steps "
            "of warmup, or fewer chains"
        )


def check_budget(budget: object, name: str = "budget") -> None:
    """Check that a budget is one.

    Raises
    ------
    TypeError
        If it is something else: a number without its unit, for instance.

    Examples
    --------
    >>> check_budget(1000)
    Traceback (most recent call last):
    TypeError: budget is 1000, but must be Evaluations(1000) or Seconds(1000)
    """
    if not isinstance(budget, Evaluations | Seconds):
        number = budget if isinstance(budget, int | float) else 200_000
        raise TypeError(
            f"{name} is {budget!r}, but must be Evaluations({number}) or Seconds({number})"
        )
