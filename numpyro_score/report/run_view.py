"""What a page says about one run."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import xarray as xr

from numpyro_score.diagnostics import Verdict, convergence, costs, judge, worst_first
from numpyro_score.report.formatting import count, listed, number, percent, rhat
from numpyro_score.report.pictures import Picture, choose, pictures
from numpyro_score.report.words import Remark, Status, on_errors, remarks, status

MAX_ROWS = 20
"""Parameters in a run's table."""


class ParameterRow(NamedTuple):
    """A line of a run's table of parameters, its numbers as text."""

    label: str
    mean: str
    sd: str
    rhat: str
    ess_bulk: str
    ess_tail: str


class RunView(NamedTuple):
    """What a page says about one run.

    Attributes
    ----------
    anchor
        Name by which the page refers to it.
    title
        What the run is called.
    status
        The run in one phrase.
    is_approximate
        Whether its kernel is known not to leave the target invariant.
    remarks
        What is fine, what is not, what to do.
    facts
        Name -> value of what is known about the run.
    rows
        Parameters, the least trustworthy first.
    left_out
        What the table and the pictures do not show.
    pictures
        Its figures.
    """

    anchor: str
    title: str
    status: Status
    is_approximate: bool
    remarks: list[Remark]
    facts: dict[str, str]
    rows: list[ParameterRow]
    left_out: str
    pictures: list[Picture]


def _mean(dt: xr.DataTree, name: str) -> float:
    stats = dt["sample_stats"].data_vars if "sample_stats" in dt.children else {}
    return float(stats[name].mean()) if name in stats else math.nan


def _facts(dt: xr.DataTree, verdict: Verdict) -> dict[str, str]:
    spent = costs(dt)
    target = dt.attrs.get("target_accept_prob")
    aim = "" if target is None else f" (aim {percent(float(target))})"
    library = dt["posterior"].attrs.get("inference_library", "")
    warmup = dt.attrs.get("num_warmup")
    facts = {
        "sampler": str(dt.attrs.get("sampler", library)),
        "chains": count(verdict.num_chains),
        "draws a chain": count(verdict.num_draws),
        "warmup steps a chain": "" if warmup is None else count(int(warmup)),
        "parameters": count(verdict.num_parameters),
        "never changing": count(verdict.num_constant) if verdict.num_constant else "",
        "accepted": percent(_mean(dt, "acceptance_rate")) + aim,
        "step size": number(_mean(dt, "step_size")),
        "divergent": count(verdict.num_divergent),
        "restarted in warmup": count(float(dt.attrs.get("num_restarts", math.nan))),
        "gradients": count(spent.num_grad + spent.num_grad_warmup),
        "log densities alone": count(spent.num_logdensity + spent.num_logdensity_warmup),
        "compile": _seconds(spent.seconds_compile),
        "warmup": _seconds(spent.seconds_warmup),
        "sampling": _seconds(spent.seconds_sampling),
    }
    nothing = number(None)
    return {name: text for name, text in facts.items() if text and not text.startswith(nothing)}


def _seconds(value: float) -> str:
    return "" if math.isnan(value) else f"{number(value)} s"


def _rows(table: xr.Dataset) -> list[ParameterRow]:
    rows = []
    for place in worst_first(table)[:MAX_ROWS]:
        one = table.isel(parameter=place)
        rows.append(
            ParameterRow(
                label=str(one.parameter.item()),
                mean=number(one["mean"].item(), 4),
                sd=number(one["sd"].item()),
                rhat=rhat(one["rhat"].item()),
                ess_bulk=count(one["ess_bulk"].item()),
                ess_tail=count(one["ess_tail"].item()),
            )
        )
    return rows


def view(
    dt: xr.DataTree,
    title: str,
    anchor: str,
    *,
    num_pictured: int,
    errors: pd.DataFrame | None = None,
    note: Callable[[str], None] = lambda title: None,
) -> RunView:
    """What a page says about one run.

    Parameters
    ----------
    dt
        Draws, of any origin.
    title
        What the run is called.
    anchor
        Name by which the page refers to it.
    num_pictured
        Parameters that the pictures show, at most.
    errors
        `expectation_errors` of the run, where there are known values.
    note
        Called with the title of each picture before it is drawn.

    Raises
    ------
    ValueError
        If there is no posterior.
    """
    table = convergence(dt)
    verdict = judge(dt, table)
    shown = choose(dt, table, num_pictured)
    num_varying = verdict.num_parameters - verdict.num_constant
    rows = _rows(table)
    parts = []
    if shown is None:
        parts.append("Nothing to draw: no parameter varies, is finite and has 4 draws a chain.")
    elif shown.draws.sizes["parameter"] < num_varying:
        labels = [str(label) for label in shown.draws.label.values]
        parts.append(
            f"Pictured: {listed(labels)}, the least trustworthy of {count(num_varying)} "
            f"parameters; {count(num_varying - len(labels))} left out."
        )
    return RunView(
        anchor=anchor,
        title=title,
        status=status(verdict),
        is_approximate=verdict.is_exact is False,
        remarks=remarks(verdict, table) + ([] if errors is None else on_errors(errors)),
        facts=_facts(dt, verdict),
        rows=rows,
        left_out=" ".join(parts),
        pictures=[] if shown is None else pictures(shown, verdict, title, note),
    )
