"""Runs that end when R-hat and the effective sample sizes suffice.

They are computed after fixed numbers of draws, each 1.5 times the one before, so that a run ends at
the same draw on every machine. The run of a kernel that was chosen here may be given up for another
one (`forecast.py`).
"""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from numpyro_score.checks import check_whole
from numpyro_score.diagnostics.elsewhere import FOUND
from numpyro_score.run.choice import Choice
from numpyro_score.run.density import RunDensity
from numpyro_score.run.forecast import Seen
from numpyro_score.run.loop import in_parts
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
        Effective sample size, bulk and tail, of every parameter; the limit of R-hat, which needs at
        least two chains, is 1.01.
    converter
        Converts draws to a posterior dataset.
    choice
        The kernel, with what takes its place if it does not suffice.
    thinning
        Steps for each draw.
    density
        The log density of the run, if it is known.
    """

    def __init__(
        self,
        wanted: int,
        converter: Converter,
        choice: Choice,
        thinning: int = 1,
        density: RunDensity | None = None,
    ) -> None:
        self.wanted = wanted
        self.is_reached = False
        self._choice, self._thinning, self._density = choice, thinning, density
        self._num_grad = 0
        self._began = time.perf_counter()
        self._found: dict[str, float] = {}
        self._converter = converter
        self._chunks: list[Chunk] = []

    def add(self, chunk: Chunk) -> None:
        """Keep the draws of a chunk."""
        self._num_grad += int(np.sum(chunk.stats.get("num_grad", 0)))
        if chunk.phase == SAMPLING:
            self._chunks.append(chunk._replace(stats={}))

    def look(self) -> bool:
        """Whether the draws so far suffice."""
        # what looks at draws is imported when there are some
        from numpyro_score.diagnostics.verdict import judge

        self._chunks = [join(self._chunks)]
        posterior = self._converter.posterior(self._chunks[0])
        verdict = judge(xr.DataTree.from_dict({"posterior": posterior}))
        # R-hat compares chains: of one it is not known
        has_mixed = verdict.has_mixed or verdict.num_chains == 1
        self.is_reached = has_mixed and verdict.ess_min >= self.wanted
        self._found = {"until_rhat": verdict.rhat_max, "until_ess": verdict.ess_min}
        return self.is_reached

    def check_choice(self, most: int, looked: Mapping[str, Any] = {}) -> None:
        """Look whether to go on with this kernel.

        Parameters
        ----------
        most
            Draws of each chain at which the run ends in any case.
        looked
            Attributes of the search for other modes, where it has been made.

        Raises
        ------
        GivenUpError
            If not, and another kernel takes its place.
        """
        draws = self._chunks[0]
        num_chains = jax.tree.leaves(draws.samples)[0].shape[0]
        found = self._found["until_ess"]
        seen = Seen(
            samples=draws.samples,
            num_chains=num_chains,
            num_draws=draws.num_draws,
            ess=found,
            wanted=self.wanted,
            most=most,
            thinning=self._thinning,
            num_elsewhere=looked.get(FOUND, 0),
            density=self._density,
        )
        num_grad = self._num_grad + looked.get("num_grad_search", 0)
        seconds = time.perf_counter() - self._began
        self._choice.check(seen, {"num_grad_given_up": num_grad, "seconds_given_up": seconds})

    @property
    def draws(self) -> Any:
        """Those of the last check, `(chain, draw, ...)`."""
        return self._chunks[0].samples

    @property
    def ending(self) -> str:
        """Why the run ended before its last draw; empty if it did not."""
        if not self.is_reached:
            return ""
        if math.isnan(self._found["until_rhat"]):
            return "the effective sample sizes suffice; R-hat needs at least two chains"
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
        """As `numpyro_score.run.loop.chunks`, until the goal is reached or the run is over.

        Raises
        ------
        GivenUpError
            As of `check_choice`.
        """
        program = programs[SAMPLING]
        most = num_steps[SAMPLING] // program.thinning
        planned = looks(most, program.block or 1)

        def next_look(made: int) -> int | None:
            if made:
                if self.look():
                    return None
                self.check_choice(most)
            return next((rows for rows in planned if rows > made), None)

        def see(chunk: Chunk) -> tuple[Chunk, bool]:
            self.add(chunk)
            return chunk, False

        return in_parts(
            programs, state, buffers, num_steps, done, arrays, next_look=next_look, see=see
        )


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
