"""What a page says about one run."""

import math
from collections.abc import Callable
from typing import NamedTuple

import xarray as xr

from numpyro_score.diagnostics import Verdict, costs
from numpyro_score.diagnostics.acceptance import tuned_acceptance
from numpyro_score.diagnostics.assessment import DIAGNOSTICS, Assessment
from numpyro_score.diagnostics.draws import FlatDraws
from numpyro_score.diagnostics.formatting import count, listed, number, percent
from numpyro_score.diagnostics.section import Table
from numpyro_score.diagnostics.status import Status
from numpyro_score.diagnostics.wording import Remark
from numpyro_score.report.mixing_pictures import mixing_plans
from numpyro_score.report.mode_pictures import mode_plans
from numpyro_score.report.pictures import Picture, Plan, Shown, choose, pictures
from numpyro_score.report.section_pictures import section_plans
from numpyro_score.report.time_pictures import acceptance_plan, trace_plan


class SectionView(NamedTuple):
    """What a page says about one diagnostic.

    Attributes
    ----------
    anchor, title
        Its name in links, and its heading.
    lead
        The question that it answers.
    remarks
        The answer.
    tables, pictures
        What that rests on.
    notes
        What could not be computed and why, and how numbers are to be read.
    """

    anchor: str
    title: str
    lead: str
    remarks: list[Remark]
    tables: list[Table]
    pictures: list[Picture]
    notes: list[str]


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
        Findings in words, the most severe first.
    facts
        Name -> value of what is known about the run.
    left_out
        What the pictures do not show.
    sections
        One for each diagnostic, on a page about one run.
    pictures
        Its figures, on a page about many.
    """

    anchor: str
    title: str
    status: Status
    is_approximate: bool
    remarks: list[Remark]
    facts: dict[str, str]
    left_out: str
    sections: list[SectionView]
    pictures: list[Picture]


def _mean(values: xr.DataArray | None) -> float:
    return math.nan if values is None else float(values.mean())


def _facts(dt: xr.DataTree, verdict: Verdict) -> dict[str, str]:
    spent = costs(dt)
    stats = dt["sample_stats"].data_vars if "sample_stats" in dt.children else {}
    goal = dt.attrs.get("target_accept_prob")
    aim = "" if goal is None else f" (target {percent(float(goal))})"
    library = dt["posterior"].attrs.get("inference_library", "")
    warmup = dt.attrs.get("num_warmup")
    facts = {
        "sampler": str(dt.attrs.get("sampler", library)),
        "kernel chosen by sample": str(dt.attrs.get("kernel_choice", "")),
        "chains": count(verdict.num_chains),
        "draws per chain": count(verdict.num_draws),
        "warmup steps per chain": "" if warmup is None else count(int(warmup)),
        "parameters": count(verdict.num_parameters),
        "constant": count(verdict.num_constant) if verdict.num_constant else "",
        "acceptance rate": percent(_mean(tuned_acceptance(stats))) + aim,
        "step size": number(_mean(stats.get("step_size"))),
        "mean steps of a trajectory": number(dt.attrs.get("mean_num_steps")),
        "divergent": count(verdict.num_divergent),
        "restarted in warmup": count(float(dt.attrs.get("num_restarts", math.nan))),
        "gradients": count(spent.gradients),
        "of which given up": count(spent.num_grad_given_up) if spent.num_grad_given_up else "",
        "of which in the search for modes": (
            count(spent.num_grad_search) if spent.num_grad_search else ""
        ),
        "log densities without gradient": count(spent.num_logdensity + spent.num_logdensity_warmup),
        "compile": _seconds(spent.seconds_compile),
        "training": _seconds(spent.seconds_training or math.nan),
        "warmup": _seconds(spent.seconds_warmup),
        "sampling": _seconds(spent.seconds_sampling),
    }
    nothing = number(None)
    return {name: text for name, text in facts.items() if text and not text.startswith(nothing)}


def _seconds(value: float) -> str:
    return "" if math.isnan(value) else f"{number(value)} s"


def _left_out(shown: Shown | None, verdict: Verdict) -> str:
    if shown is None:
        return "Nothing to draw: no parameter varies, is finite and has 4 draws per chain."
    labels, num_varying = shown.labels, verdict.num_parameters - verdict.num_constant
    if len(labels) == num_varying:
        return ""
    return (
        f"Pictured: {listed(labels, most=6)}, the least reliable of {count(num_varying)} "
        f"parameters; {count(num_varying - len(labels))} left out."
    )


def _head(draws: FlatDraws, found: Assessment, title: str, anchor: str) -> RunView:
    return RunView(
        anchor=anchor,
        title=title,
        status=found.status,
        is_approximate=found.verdict.is_approximate,
        remarks=found.remarks(),
        facts=_facts(draws.dt, found.verdict),
        left_out="",
        sections=[],
        pictures=[],
    )


def page_view(
    draws: FlatDraws,
    found: Assessment,
    title: str,
    *,
    num_pictured: int,
    note: Callable[[str], None] = lambda title: None,
) -> RunView:
    """What a page of its own says about a run: a section for each diagnostic.

    Parameters
    ----------
    draws
        Of the run.
    found
        `assess(draws)`.
    title
        What the run is called.
    num_pictured
        Parameters that the pictures show, at most.
    note
        Called with the title of each picture before it is drawn.
    """
    shown = choose(draws, found.mixing, num_pictured)
    sections = []
    for diagnostic in DIAGNOSTICS:
        if diagnostic.name not in found.results:
            continue
        result = found.results[diagnostic.name]
        section = diagnostic.section(result, found.verdict)
        if section is None:
            continue
        plans = section_plans(diagnostic.name, section, draws, found, shown)
        sections.append(
            SectionView(
                diagnostic.anchor,
                section.title,
                section.lead,
                found.remarks(diagnostic.name),
                section.tables,
                pictures(plans, title, note),
                section.notes,
            )
        )
    return _head(draws, found, title, "run")._replace(
        left_out=_left_out(shown, found.verdict), sections=sections
    )


def brief_view(
    draws: FlatDraws, found: Assessment, title: str, anchor: str, *, num_pictured: int
) -> RunView:
    """What a page about many runs says about one of them: remarks and pictures.

    Parameters
    ----------
    draws
        Of the run.
    found
        `assess(draws)`.
    title
        What the run is called.
    anchor
        Name by which the page refers to it.
    num_pictured
        Parameters that the pictures show, at most.
    """
    shown = choose(draws, found.mixing, num_pictured)
    plans: list[Plan | None] = []
    modes, is_independent = found.modes, found.verdict.is_independent
    has_modes = modes is not None and modes.attrs["num_modes"] > 1
    if shown is not None and not is_independent:
        first, *others = mixing_plans(shown, found.verdict.ess_needed)
        plans = [first, trace_plan(shown, found.burn_in), *others]
    if shown is not None and modes is not None and (has_modes or is_independent):
        plans += mode_plans(draws, shown, modes)[: 1 if is_independent else None]
    elif not is_independent:
        plans.append(acceptance_plan(draws.dt))
    return _head(draws, found, title, anchor)._replace(
        left_out=_left_out(shown, found.verdict),
        pictures=pictures([plan for plan in plans if plan is not None], title),
    )
