"""The pictures of a section: those made for a diagnostic, and the charts it brings as data."""

from collections.abc import Callable

from numpyro_score.diagnostics.assessment import Assessment
from numpyro_score.diagnostics.draws import FlatDraws
from numpyro_score.diagnostics.section import Section
from numpyro_score.report.error_pictures import chart_plan, distances_plan
from numpyro_score.report.mixing_pictures import mixing_plans
from numpyro_score.report.mode_pictures import mode_plans
from numpyro_score.report.pictures import Plan, Shown
from numpyro_score.report.time_pictures import acceptance_plan, rhat_plan, trace_plan

Plans = list[Plan | None]


def _mixing(draws: FlatDraws, found: Assessment, shown: Shown | None) -> Plans:
    if found.verdict.is_independent:
        return []
    chains = [] if shown is None else mixing_plans(shown, found.verdict.ess_needed)
    return [*chains, acceptance_plan(draws.dt)]


def _burn_in(draws: FlatDraws, found: Assessment, shown: Shown | None) -> Plans:
    del draws
    if shown is None or found.burn_in is None:
        return []
    return [trace_plan(shown, found.burn_in), rhat_plan(shown, found.burn_in)]


def _modes(draws: FlatDraws, found: Assessment, shown: Shown | None) -> Plans:
    if shown is None or found.modes is None:
        return []
    plans: Plans = list(mode_plans(draws, shown, found.modes))
    return plans[: 1 if found.verdict.is_independent else None]


def _discrepancy(draws: FlatDraws, found: Assessment, shown: Shown | None) -> Plans:
    del draws, shown
    return [] if found.discrepancy is None else [distances_plan(found.discrepancy)]


OWN: dict[str, Callable[[FlatDraws, Assessment, Shown | None], Plans]] = {
    "mixing": _mixing,
    "burn_in": _burn_in,
    "modes": _modes,
    "discrepancy": _discrepancy,
}
"""Name of a diagnostic -> pictures that are drawn for it alone; a diagnostic needs none."""


def section_plans(
    name: str, section: Section, draws: FlatDraws, found: Assessment, shown: Shown | None
) -> list[Plan]:
    """The pictures of a diagnostic's section.

    Parameters
    ----------
    name, section
        The diagnostic, and what it brings to be shown.
    draws, found
        The run, and what was found in it.
    shown
        Parameters and chains of the pictures; None if there is nothing to draw.
    """
    own = OWN[name](draws, found, shown) if name in OWN else []
    return [plan for plan in (*own, *map(chart_plan, section.charts)) if plan is not None]
