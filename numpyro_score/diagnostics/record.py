"""What a diagnostic is: one record, in one file, and one line in the list of `assessment.py`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numpyro_score.diagnostics.discrepancy.reference import Reference
from numpyro_score.diagnostics.draws import FlatDraws
from numpyro_score.diagnostics.finding import Finding
from numpyro_score.diagnostics.section import Columns, Section
from numpyro_score.diagnostics.verdict import Verdict
from numpyro_score.diagnostics.wording import Wordings
from numpyro_score.targets import Target
from numpyro_score.types import LogDensityFn


class Given(NamedTuple):
    """What a run is compared with, besides itself.

    Attributes
    ----------
    target
        What the draws should be of, or None.
    reference
        Draws that are known to be good, or None.
    logdensity_fn, variables
        In place of a target, point `(dim,)` -> log density, a point being the variables side by
        side; all if they are None.
    with_discrepancy
        Whether distances are wanted, which take longest.
    """

    target: Target | None = None
    reference: Reference | None = None
    logdensity_fn: LogDensityFn | None = None
    variables: Sequence[str] | None = None
    with_discrepancy: bool = True


class Diagnostic(NamedTuple):
    """A diagnostic.

    Attributes
    ----------
    name
        Its name in `Assessment.results`.
    anchor
        Its name in links of the page.
    is_of_target
        Whether it compares the draws with their target: what it flags is then bias, and not a
        question of how long the run was.
    compute
        Draws and what they are compared with -> numbers, or None where there is nothing to compute.
    findings
        Numbers, and the verdict by R-hat and effective draws where it is known -> findings.
    wordings
        A wording for each code of its findings.
    columns
        What it adds to the table of a comparison.
    section
        Numbers and verdict -> what the page shows of them, or None for no section.
    """

    name: str
    anchor: str
    is_of_target: bool
    compute: Callable[[FlatDraws, Given], Any]
    findings: Callable[[Any, Verdict | None], list[Finding]]
    wordings: Wordings
    columns: Columns
    section: Callable[[Any, Verdict], Section | None]
