"""Runs that end when R-hat and the effective sample sizes suffice.

They are computed after fixed numbers of draws, each 1.5 times the one before, so that a run ends at
the same draw on every machine.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import xarray as xr

from numpyro_score.checks import check_whole
from numpyro_score.run.loop import chunks
from numpyro_score.run.program import Buffers, Program
from numpyro_score.run.tree import SAMPLING, Chunk, Converter, join

FIRST_LOOK = 100
"""Draws of each chain at the first check."""
GROWTH = 1.5
"""Ratio of the draws at one check to those at the check before."""


def check_until(until: int, *, resume: bool) -> None:
    """Check the goal of a run.

    Raises
    ------
    TypeError, ValueError
        If `until` is no whole number above 0, or is given for a run that is resumed, or one of
        several processes.
    """
    check_whole(
        "until",
        until,
        hint="the effective sample size that each parameter should have; or a budget, "
        "Evaluations(200_000)",
    )
    if resume or jax.process_count() > 1:
        raise ValueError(
            "until cannot be used in a run that is resumed, or runs on several processes: it needs "
            "all draws in one call; give num_samples alone."
        )


def usual_goal(num_chains: int) -> int:
    """Effective sample size that the verdict on a run requires: 100 per chain.

    Raises
    ------
    TypeError, ValueError
        If the number of chains is no whole number above 0.
    """
    from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN

    check_whole("num_chains", num_chains)
    return ESS_PER_CHAIN * num_chains


class Until:
    """Keeps the draws of a run, and checks whether they suffice.

    Parameters
    ----------
    wanted
        Effective sample size, bulk and tail, of every parameter; the limit of R-hat is 1.01.
    converter
        Converts draws to a posterior dataset.
    """

    def __init__(self, wanted: int, converter: Converter) -> None:
        self.wanted = wanted
        self.is_reached = False
        self._found: dict[str, float] = {}
        self._converter = converter
        self._chunks: list[Chunk] = []

    def add(self, chunk: Chunk) -> None:
        """Keep the draws of a chunk."""
        if chunk.phase == SAMPLING:
            self._chunks.append(chunk._replace(stats={}))

    def look(self) -> bool:
        """Whether the draws so far suffice."""
        # what looks at draws is imported when there are some
        from numpyro_score.diagnostics.verdict import judge

        self._chunks = [join(self._chunks)]
        posterior = self._converter.posterior(self._chunks[0])
        verdict = judge(xr.DataTree.from_dict({"posterior": posterior}))
        self.is_reached = verdict.has_mixed and verdict.ess_min >= self.wanted
        self._found = {"until_rhat": verdict.rhat_max, "until_ess": verdict.ess_min}
        return self.is_reached

    @property
    def ending(self) -> str:
        """Why the run ended before its last draw; empty if it did not."""
        if not self.is_reached:
            return ""
        return "R-hat and the effective sample sizes suffice: no more draws are needed"

    @property
    def attributes(self) -> dict[str, Any]:
        """What the run says of its goal."""
        return {"until": self.wanted, "until_reached": int(self.is_reached), **self._found}

    def chunks(
        self,
        programs: Mapping[str, Program],
        state: Any,
        buffers: tuple[Buffers, Buffers],
        num_steps: Mapping[str, int],
        done: Mapping[str, int],
        arrays: Any,
    ) -> Iterator[tuple[Chunk, Any, int]]:
        """As `numpyro_score.run.loop.chunks`, until the goal is reached or the run is over."""
        program = programs[SAMPLING]
        thinning = program.thinning
        rows = dict(done)
        for num_rows in looks(num_steps[SAMPLING] // thinning, program.block or 1):
            part = {**num_steps, SAMPLING: num_rows * thinning}
            drawing = chunks(programs, state, buffers, part, rows, arrays)
            while True:
                try:
                    chunk, state, steps = next(drawing)
                except StopIteration as end:
                    buffers = end.value
                    break
                self.add(chunk)
                rows[chunk.phase] = chunk.first + chunk.num_draws
                yield chunk, state, steps
            if self.look():
                return


def looks(num_rows: int, multiple: int) -> list[int]:
    """Numbers of kept draws per chain at which the run is checked; the last is its end.

    Parameters
    ----------
    num_rows
        Kept draws of the whole run, a multiple of `multiple`.
    multiple
        What every number is a multiple of.

    Examples
    --------
    >>> looks(500, 1), looks(320, 32)
    ([100, 150, 225, 337, 500], [128, 160, 256, 320])
    """
    found: list[int] = []
    size = float(FIRST_LOOK)
    while size < num_rows:
        rows = math.ceil(int(size) / multiple) * multiple
        if rows < num_rows and rows not in found:
            found.append(rows)
        size *= GROWTH
    return [*found, num_rows]
