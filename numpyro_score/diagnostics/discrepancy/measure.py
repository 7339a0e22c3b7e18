"""How far draws are from a density, or from draws of it that are known to be good.

Measures that take a score are of the draws as points of the density; measures that take reference
draws are in units of the reference's standard deviations, of the variables that both have. A
measure has a p-value where a test is known, and is flagged where that is below `FALSE_ALARM`
divided by the number of tests (Bonferroni).

Kernel Stein discrepancies: Gorham and Mackey 2017, arXiv:1703.01717; maximum mean discrepancy:
Gretton et al. 2012, A kernel two-sample test (JMLR 13); classifier tests: Lopez-Paz and Oquab 2017,
arXiv:1610.06545. The files of the measures have the formulas.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpyro.infer import MCMC

from numpyro_score.diagnostics.discrepancy.bootstrap import cut
from numpyro_score.diagnostics.discrepancy.by_reference import MIN_DRAWS, by_reference
from numpyro_score.diagnostics.discrepancy.by_score import by_score
from numpyro_score.diagnostics.discrepancy.findings import WORDINGS, findings
from numpyro_score.diagnostics.discrepancy.positions import Points, side_by_side, unconstrained
from numpyro_score.diagnostics.discrepancy.reference import Reference, longest_time, read
from numpyro_score.diagnostics.discrepancy.rows import (
    BLINDNESS,
    BY_REFERENCE,
    BY_SCORE,
    MEASURES,
    Row,
)
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.outcome import FALSE_ALARM, conclude, with_findings
from numpyro_score.targets import Target
from numpyro_score.types import LogDensityFn, ScoreFn

MAX_DRAWS = 20_000
"""Draws of all chains that are measured by default."""

NUMBERS = {
    "value": "discrepancy",
    "floor": "mean of exact draws at the same sample size",
    "floor_sd": "standard deviation of exact draws at the same sample size",
    "v": "V-statistic",
    "u": "U-statistic",
    "p_value": "probability of a value as large for exact draws",
    "num_draws": "draws that it is of",
}
"""Numbers of each measure."""


def _skip_reason(points: Points) -> str:
    if not np.isfinite(points).all():
        return "there are draws that are not finite"
    if points.shape[0] * points.shape[1] < MIN_DRAWS:
        return f"there are fewer than {MIN_DRAWS} draws"
    return ""


def _check(
    target: Target | None,
    logdensity_fn: LogDensityFn | None,
    score_fn: ScoreFn | None,
    reference: Reference | None,
    max_draws: int,
) -> None:
    if target is not None and logdensity_fn is not None:
        raise ValueError("target has a log density of its own; give one of target, logdensity_fn")
    if all(given is None for given in (target, logdensity_fn, score_fn, reference)):
        raise ValueError(
            "there is nothing to compare the draws with; give target, logdensity_fn, score_fn or "
            "reference"
        )
    for name, fn in (("logdensity_fn", logdensity_fn), ("score_fn", score_fn)):
        if fn is not None and not callable(fn):
            raise TypeError(f"{name} must be a function of one point, got {type(fn).__name__}")
    if max_draws < MIN_DRAWS:
        raise ValueError(f"max_draws must be at least {MIN_DRAWS}, got {max_draws}")


def _notes(rows: dict[str, Row], num_stretches: int, limit: float) -> list[str]:
    notes = [BLINDNESS] if not math.isnan(rows["ksd"].value) else []
    if num_stretches and 2.0 ** (1 - num_stretches) > limit:
        notes.append(
            "The draws are too few or too autocorrelated for a test of a discrepancy: no p-value "
            "can be small enough to be flagged."
        )
    for reason in dict.fromkeys(row.reason for row in rows.values() if row.reason):
        titles = [MEASURES[name].title for name, row in rows.items() if row.reason == reason]
        which = ", ".join(titles)
        notes.append(f"Not computed: {which}. The reason: {reason}.")
    return notes


def discrepancy(
    dt: xr.DataTree | MCMC | FlatDraws,
    *,
    target: Target | None = None,
    logdensity_fn: LogDensityFn | None = None,
    score_fn: ScoreFn | None = None,
    reference: Reference | None = None,
    variables: Sequence[str] | None = None,
    max_draws: int = MAX_DRAWS,
    classifier: Any = None,
    seed: int = 0,
) -> xr.Dataset:
    """How far draws are from a density, or from draws of it, by several measures.

    At least one of `target`, `logdensity_fn`, `score_fn` and `reference` is given; measures that
    they do not suffice for are NaN, with the reason.

    Parameters
    ----------
    dt
        Draws, of any origin.
    target
        What the draws should be of: gives the log density, in its own unconstrained coordinates,
        and exact draws if it can make them.
    logdensity_fn
        Instead of a target: point `(dim,)` -> log density, a point being `variables` side by side.
    score_fn
        Point `(dim,)` -> gradient of the log density, such as a learned score; None for that of the
        log density.
    reference
        Draws that are known to be good: a DataTree (thinned by its autocorrelation time), or
        variable -> independent draws `(draw, *event)`; None for exact draws of the target.
    variables
        Variables that are compared, in the order of `logdensity_fn`; None for all (that the
        reference has too).
    max_draws
        Draws of all chains that are measured, evenly spaced. Time grows as their square.
    classifier
        For the classifier two-sample test: a scikit-learn classifier; None for extremely randomized
        trees.
    seed
        Of everything random.

    Returns
    -------
    Dataset with dimension `measure` (`MEASURES`) and, along it,

    * `value`, and its `floor`, what exact independent draws have on average at the sample size,
      with `floor_sd`, their standard deviation where that is known
    * `v`, `u`: V- and U-statistic (of `ksd*` and `mmd*`)
    * `p_value`: probability of a value as large for exact draws with such an autocorrelation
    * `num_draws`: draws that it is of
    * `is_flagged`: larger than chance explains
    * `unit`, `meaning` (what it detects, and what not), `reason` (why there is nothing, or "")

    and the attributes of every diagnostic (`outcome.py`), `blindness`, `tau` (longest
    autocorrelation time), `num_draws`, `num_reference`, and `num_modes`, modes of the density that
    were found.

    Raises
    ------
    ValueError
        If there is no posterior, nothing to compare with, a density or reference that does not fit
        the posterior, or a score that is not finite.
    TypeError
        If a density or score is not callable.

    Examples
    --------
    >>> from numpyro_score.targets import std_gaussian
    >>> x = np.random.default_rng(0).normal(size=(4, 250, 2))
    >>> dims = ("chain", "draw", "i")
    >>> good, bad = (
    ...     xr.DataTree.from_dict({"posterior": xr.Dataset({"x": (dims, a * x)})}) for a in (1, 2)
    ... )
    >>> result = discrepancy(good, score_fn=lambda x: -x)
    >>> result.attrs["findings"], result.attrs["notes"][0]
    ([], 'A kernel Stein discrepancy does not detect wrong weights of modes that lie apart: ...')
    >>> discrepancy(bad, score_fn=lambda x: -x).attrs["findings"][0]
    'The draws do not agree with the density: the kernel Stein discrepancy with moments is ...'
    """
    _check(target, logdensity_fn, score_fn, reference, max_draws)
    draws = flatten(dt)
    step = max(-(-draws.num_chains * draws.num_draws // max_draws), 1)
    sizes = draws.num_chains, len(range(0, draws.num_draws, step))
    rng = np.random.default_rng(seed)
    tau, num_modes, num_reference = math.nan, 0, 0

    density = target.logdensity_fn if target is not None else logdensity_fn
    if density is None and score_fn is None:
        why = "it takes a score (target=, logdensity_fn= or score_fn=)"
    else:
        names = list(map(str, draws.data.data_vars)) if variables is None else list(variables)
        if target is None:
            points = side_by_side(draws, names, step)
        else:
            points = unconstrained(draws, target, step)
        why = _skip_reason(points)
        if not why and (np.ptp(points, axis=(0, 1)) == 0).any():
            why = "a coordinate is constant"
    if why:
        rows = dict.fromkeys(BY_SCORE, Row(reason=why))
    else:
        tau = longest_time(points)
        rows, num_modes = by_score(points, tau, density, score_fn, rng)

    names, known, why = read(reference, target, draws, sizes[0] * sizes[1], variables, seed)
    if known is not None:
        points = side_by_side(draws, names, step)
        why = _skip_reason(points)
        num_reference = len(known)
        if not why and num_reference < 2 * MIN_DRAWS:
            why = (
                f"there are {num_reference} independent reference draws, fewer than {2 * MIN_DRAWS}"
            )
    if known is None or why:
        rows |= dict.fromkeys(BY_REFERENCE, Row(reason=why))
    else:
        time = longest_time(points)
        tau = float(np.fmax(tau, time))
        rows |= by_reference(points, known, time, rng, classifier)
    result = _result(rows, sizes, tau, step, num_modes, num_reference)
    return with_findings(result, findings(result, None), WORDINGS)


def _result(
    rows: dict[str, Row],
    sizes: tuple[int, int],
    tau: float,
    step: int,
    num_modes: int,
    num_reference: int,
) -> xr.Dataset:
    p_values = np.array([row.p_value for row in rows.values()])
    limit = FALSE_ALARM / max(int(np.isfinite(p_values).sum()), 1)
    # NaN is not below it
    is_flagged = p_values < limit
    num_stretches = 0 if math.isnan(tau) else cut(*sizes, tau).num_stretches
    each = ("measure",)
    numbers = {
        name: (each, [getattr(row, name) for row in rows.values()], described, "")
        for name, described in NUMBERS.items()
    }
    return conclude(
        {
            **numbers,
            "is_flagged": (each, is_flagged, "larger than chance explains", ""),
            "unit": (each, [MEASURES[name].unit for name in rows], "unit of the value", ""),
            "meaning": (each, [MEASURES[name].meaning for name in rows], "what it detects", ""),
            "reason": (each, [row.reason for row in rows.values()], "why there is nothing", ""),
        },
        {"measure": list(rows)},
        notes=_notes(rows, num_stretches, limit),
        blindness=BLINDNESS,
        tau=tau * step,
        num_draws=sizes[0] * sizes[1],
        num_reference=num_reference,
        num_modes=num_modes,
    )
