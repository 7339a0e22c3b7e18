"""The comparison's table as the page shows it: headings, their meaning, how numbers are written."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from numpyro_score.comparison.needed import rounded
from numpyro_score.diagnostics.assessment import DIAGNOSTICS
from numpyro_score.diagnostics.cost import GRADIENT_COST
from numpyro_score.diagnostics.formatting import NOTHING, count, number, percent, rhat
from numpyro_score.diagnostics.section import Cell, Column
from numpyro_score.diagnostics.verdict import ESS_PER_CHAIN, RHAT_MAX


def _plain(name: str, write: Callable[[float], str], scale: float = 1.0) -> Callable[..., Cell]:
    return lambda row: Cell(write(scale * row[name]))


def _limited(
    name: str, write: Callable[[float], str], is_bad: Callable[[float], bool]
) -> Callable[..., Cell]:
    return lambda row: Cell(write(row[name]), "bad" if is_bad(row[name]) else "")


def _rate(name: str, scale: float = 1.0) -> Callable[..., Cell]:
    """A rate, and below it its interval over seeds, if there is one."""

    def cell(row: Mapping[str, Any]) -> Cell:
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
        text = number(scale * row[name])
        if low is None or high is None or pd.isna(low):
            return Cell(text)
        return Cell(f"{text}\n{number(scale * low)} to {number(scale * high)}")

    return cell


def _distance(row: Mapping[str, Any]) -> Cell:
    value, floor = row["distance"], row["distance_floor"]
    if pd.isna(value):
        return Cell(number(None))
    is_bad = value > DISTANCE_LIMIT * floor
    return Cell(f"{number(value, 2)}\n({number(floor, 2)})", "bad" if is_bad else "")


DISTANCE_LIMIT = 2.0
"""Multiple of the floor up to which a distance is not marked."""

_INTERVAL = " Below it: the bootstrap interval over seeds, if there are several."


def main_columns(num_chains: int) -> tuple[Column, ...]:
    """Columns of the table that are always seen, after those with the kernel and its verdict.

    Parameters
    ----------
    num_chains
        Chains of each run, by which effective sample sizes are judged.

    Examples
    --------
    >>> main_columns(4)[0].heading, main_columns(4)[0].cell({"rhat": 1.2})
    ('max R-hat', Cell(text='1.200', css_class='bad'))
    """
    ess_needed = ESS_PER_CHAIN * num_chains
    return (
        Column(
            "max R-hat",
            "Do the chains agree? Rank-normalised split R-hat of the worst parameter; recommended: "
            f"at most {RHAT_MAX}.",
            lambda row: Cell(
                "n/a" if row.get("is_independent") else rhat(row["rhat"]),
                "bad" if row["rhat"] > RHAT_MAX else "",
            ),
        ),
        Column(
            "min bulk ESS",
            "Bulk effective sample size of the worst parameter; recommended: "
            f"{count(ess_needed)} ({ESS_PER_CHAIN} per chain).",
            _limited("ess_bulk", count, lambda ess: ess < ess_needed),
        ),
        *_own("known_values"),
        Column(
            "distance",
            "Sliced Wasserstein distance to exact draws, in the target's standard deviations; in "
            "brackets the distance of exact draws; marked where it is more than "
            f"{DISTANCE_LIMIT:g} times that.",
            _distance,
        ),
        *_own("modes"),
        Column(
            "ESS per 1,000 evals",
            "Worst bulk ESS per 1,000 evaluations of the log density, warmup included; a gradient "
            f"counts as {GRADIENT_COST}. Meaningless for a run that did not converge." + _INTERVAL,
            _rate("ess_per_evaluation", 1e3),
        ),
        Column(
            "ESS per s",
            "Worst bulk ESS per second of warmup and sampling on this machine, without compilation."
            + _INTERVAL,
            _rate("ess_per_second"),
        ),
        Column(
            "evals",
            f"Evaluations of the log density, a gradient as {GRADIENT_COST}: exploring, training, "
            "warmup and draws of all chains.",
            _plain("evaluations", count),
        ),
        Column(
            "before draws",
            "Share of the evaluations that exploring, training and warmup took.",
            _plain("warmup_share", percent),
        ),
        Column(
            "more evals",
            "Further evaluations after which the run may have converged, from how R-hat and "
            "effective draws changed as draws were added; ∞ where they did not improve.",
            lambda row: Cell(_needed(row["evaluations_needed"])),
        ),
    )


def _needed(value: float) -> str:
    return number(value) if math.isinf(value) else count(rounded(value))


def _own(*names: str) -> tuple[Column, ...]:
    """Columns of some diagnostics."""
    own = {one.name: one.columns.shown for one in DIAGNOSTICS}
    return tuple(column for name in names for column in own[name])


def more_columns(num_chains: int) -> tuple[Column, ...]:
    """Columns that are folded away.

    Parameters
    ----------
    num_chains
        Chains of each run, by which effective sample sizes are judged.

    Examples
    --------
    >>> more_columns(4)[0].heading
    'min tail ESS'
    """
    ess_needed = ESS_PER_CHAIN * num_chains
    rest = [one.name for one in DIAGNOSTICS if one.name not in ("known_values", "modes")]
    return (
        Column(
            "min tail ESS",
            "Tail effective sample size (of interval ends) of the worst parameter.",
            _limited("ess_tail", count, lambda ess: ess < ess_needed),
        ),
        *_own(*rest),
        Column(
            "ESS per 1,000 grads",
            "Worst bulk ESS per 1,000 gradients, warmup included." + _INTERVAL,
            _rate("ess_per_gradient", 1e3),
        ),
        Column(
            "accept",
            "Mean acceptance rate after warmup.",
            _plain("acceptance", percent),
        ),
        Column(
            "diverg.",
            "Draws marked as divergent.",
            _limited("divergences", count, lambda value: value > 0),
        ),
        Column(
            "grads",
            "Gradients of the log density (each with the log density itself), all chains, warmup "
            "and training included.",
            _plain("num_grad", count),
        ),
        Column(
            "log dens.",
            "Log densities without a gradient, all chains, warmup included.",
            _plain("num_logdensity", count),
        ),
        Column(
            "training share",
            "Share of the evaluations that exploring and training took.",
            _plain("training_share", percent),
        ),
        Column(
            "compile s", "Seconds of set-up and compilation.", _plain("seconds_compile", number)
        ),
        Column(
            "training s",
            "Seconds of training before the first step, compilation included.",
            _plain("seconds_training", number),
        ),
        Column("warmup s", "Seconds of warmup.", _plain("seconds_warmup", number)),
        Column("sampling s", "Seconds of sampling.", _plain("seconds_sampling", number)),
    )


def shown(specs: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns in which some row has a value.

    Parameters
    ----------
    specs
        As `main_columns` returns them.
    rows
        Of the runs that went through.

    Examples
    --------
    >>> specs = main_columns(4)[:2]
    >>> [spec.heading for spec in shown(specs, [{"rhat": 1.0, "ess_bulk": float("nan")}])]
    ['max R-hat']
    """
    return tuple(spec for spec in specs if any(spec.cell(row).text != NOTHING for row in rows))
