"""A run within a budget: it ends at the first draw with which its total cost reaches the budget.

The number of draws does not depend on the chunks in which they are made, nor, for `Evaluations`, on
the machine. What draws cost is looked at now and then, and as many are made next as the rest of
the budget pays for; those of the last chunk that are beyond it are left out.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from numpyro.infer.mcmc import MCMCKernel

from numpyro_score.diagnostics.cost import GRADIENT_COST, Costs, costs
from numpyro_score.run.budget import Budget, Evaluations
from numpyro_score.run.loop import in_parts
from numpyro_score.run.program import Buffers, Program
from numpyro_score.run.tree import SAMPLING, WARMUP, Chunk, with_gradient_count

FIRST_DRAWS = 100
"""Draws of each chain after which the cost of a draw is first looked at, at most."""

GROWTH = 4
"""Ratio of the draws at one look to those at the look before, at most: draws may become cheaper."""


class BudgetExceededError(RuntimeError):
    """A budget was used up before the first draw.

    Examples
    --------
    >>> raise BudgetExceededError("the budget of 100 evaluations was used up in warmup")
    Traceback (most recent call last):
    numpyro_score.run.within.BudgetExceededError: the budget of 100 evaluations was used up ...
    """


class Within:
    """Counts what a run costs, and ends it with the draw that reaches the budget.

    Parameters
    ----------
    budget
        What it may cost.
    kernel, fields, thinning
        By which the statistics of a draw are read.
    num_warmup
        Steps of warmup, for the message of an error.
    learned
        Attributes of the run that are known before its first step: the cost of training.
    earlier
        The run as it was stored so far, if this one goes on with it.

    Raises
    ------
    BudgetExceededError
        If training has used up the budget.
    ValueError
        If evaluations are to be counted and the kernel does not report them.
    """

    def __init__(
        self,
        budget: Budget,
        kernel: MCMCKernel,
        fields: Sequence[str],
        thinning: int,
        num_warmup: int,
        learned: Mapping[str, Any],
        earlier: xr.DataTree | None = None,
    ) -> None:
        self._budget = budget
        self._kernel, self._thinning, self._num_warmup = kernel, thinning, num_warmup
        example = dict.fromkeys(fields, np.zeros((1, 1), np.int32))
        self._is_counting = "num_grad" in with_gradient_count(kernel, example, thinning)
        if isinstance(budget, Evaluations) and not self._is_counting:
            raise ValueError(
                f"{type(kernel).__name__} does not report its evaluations (num_grad), so that they "
                "cannot be limited; give Seconds"
            )
        empty = xr.DataTree() if earlier is None else earlier
        known = {k: v for k, v in costs(empty)._asdict().items() if math.isfinite(v)}
        training = {
            "num_grad_training": float(learned.get("num_grad_training", 0)),
            "seconds_training": float(learned.get("seconds_training", 0)),
        }
        self._spent = Costs(**(dict.fromkeys(Costs._fields, 0.0) | known | training))
        if self.left <= 0 and earlier is None:
            raise BudgetExceededError(
                f"the budget of {budget} was used up by exploring and training; give a larger one"
            )

    @property
    def left(self) -> float:
        """What is left of the budget."""
        return self._budget.number - self._budget.of(self._spent)

    @property
    def ending(self) -> str:
        """Why the run ended before its last draw; empty if it did not."""
        return f"the budget of {self._budget} is spent" if self.left <= 0 else ""

    @property
    def attributes(self) -> dict[str, Any]:
        """What the run says of its budget."""
        return {"budget": str(self._budget), "budget_reached": int(self.left <= 0)}

    def cut(self, chunk: Chunk, seconds: float) -> Chunk:
        """Count a chunk, and leave out draws beyond the one that reaches the budget.

        Raises
        ------
        BudgetExceededError
            If the budget is used up in warmup.
        """
        stats = with_gradient_count(self._kernel, chunk.stats, self._thinning)
        is_warmup = chunk.phase == WARMUP
        end = "_warmup" if is_warmup else ""
        clock = f"seconds_{chunk.phase}"
        rows = chunk.num_draws
        seconds_so_far = getattr(self._spent, clock)
        if self._is_counting:
            num_grad, num_logdensity = (
                np.cumsum(stats[name].sum(axis=0), dtype=np.float64)
                for name in ("num_grad", "num_logdensity")
            )
            if isinstance(self._budget, Evaluations):
                spent = num_logdensity + GRADIENT_COST * num_grad
                rows = min(int(np.searchsorted(spent, self.left)) + 1, rows)
            counts = {"num_grad": num_grad[rows - 1], "num_logdensity": num_logdensity[rows - 1]}
            self._add({f"{name}{end}": value for name, value in counts.items()})
        self._spent = self._spent._replace(**{clock: seconds_so_far + seconds})
        done = chunk.first + rows
        if is_warmup and self.left <= 0:
            raise BudgetExceededError(
                f"the budget of {self._budget} was used up in warmup, after "
                f"{done * self._thinning} of {self._num_warmup} steps; give a larger budget, fewer "
                "steps of warmup, or fewer chains"
            )
        samples, stats = jax.tree.map(lambda x: x[:, :rows], (chunk.samples, chunk.stats))
        return chunk._replace(samples=samples, stats=stats)

    def _add(self, counts: Mapping[str, float]) -> None:
        self._spent = self._spent._replace(
            **{name: getattr(self._spent, name) + value for name, value in counts.items()}
        )

    def _rate(self, end: str, clock: str, num_steps: int) -> float:
        """What a step of a phase cost, by the endings of its counts and the name of its clock."""
        phase = (f"num_grad{end}", f"num_logdensity{end}", clock)
        without = self._spent._replace(**dict.fromkeys(phase, 0.0))
        return (self._budget.of(self._spent) - self._budget.of(without)) / max(num_steps, 1)

    def next_look(self, num_rows: int, multiple: int) -> int:
        """Kept draws per chain at which to look again, of which `num_rows` are made."""
        if num_rows:
            rate = self._rate("", "seconds_sampling", num_rows)
        else:
            # until draws are made, they are taken to cost what a step of warmup did
            rate = self._thinning * self._rate("_warmup", "seconds_warmup", self._num_warmup)
        most = max((GROWTH - 1) * num_rows, FIRST_DRAWS)
        more = most if rate <= 0 else min(math.ceil(self.left / rate), most)
        return math.ceil((num_rows + max(more, 1)) / multiple) * multiple

    def chunks(
        self,
        programs: Mapping[str, Program],
        state: Any,
        buffers: tuple[Buffers, Buffers],
        num_steps: Mapping[str, int],
        done: Mapping[str, int],
        arrays: Any,
    ) -> Iterator[tuple[Chunk, Any, int]]:
        """As `numpyro_score.run.loop.chunks`, until the budget is reached or the run is over."""
        program = programs[SAMPLING]
        total = num_steps[SAMPLING] // program.thinning
        has_warmed_up = False
        began = time.perf_counter()

        def next_look(made: int) -> int | None:
            nonlocal has_warmed_up
            if not has_warmed_up:
                # the first look is at the end of warmup
                has_warmed_up = True
                return made
            if made >= total or self.left <= 0:
                return None
            return min(self.next_look(made, program.block or 1), total)

        def see(chunk: Chunk) -> tuple[Chunk, bool]:
            nonlocal began
            now = time.perf_counter()
            chunk, began = self.cut(chunk, now - began), now
            return chunk, bool(self.left <= 0)

        return in_parts(
            programs, state, buffers, num_steps, done, arrays, next_look=next_look, see=see
        )
