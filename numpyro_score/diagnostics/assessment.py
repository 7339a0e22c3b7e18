"""All diagnostics of one run at once; the list of diagnostics stands here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import pandas as pd
import xarray as xr
from numpyro.infer import MCMC

from numpyro_score.diagnostics.burn_in import BURN_IN
from numpyro_score.diagnostics.discrepancy.record import DISCREPANCY
from numpyro_score.diagnostics.discrepancy.reference import Reference
from numpyro_score.diagnostics.draws import FlatDraws, flatten
from numpyro_score.diagnostics.finding import Finding, Severity
from numpyro_score.diagnostics.known_values import KNOWN_VALUES
from numpyro_score.diagnostics.mixing import MIXING
from numpyro_score.diagnostics.modes import MODES
from numpyro_score.diagnostics.record import Diagnostic, Given
from numpyro_score.diagnostics.rhat_ess import quiet
from numpyro_score.diagnostics.score_moments import SCORE_MOMENTS
from numpyro_score.diagnostics.status import Status, overall
from numpyro_score.diagnostics.tail_acceptance_record import TAIL_ACCEPTANCE
from numpyro_score.diagnostics.tails import TAILS
from numpyro_score.diagnostics.verdict import Verdict, judge
from numpyro_score.diagnostics.wording import Remark, Wording, Words, remarks
from numpyro_score.targets import Target
from numpyro_score.types import LogDensityFn

DIAGNOSTICS: tuple[Diagnostic, ...] = (
    MIXING,
    BURN_IN,
    MODES,
    TAILS,
    TAIL_ACCEPTANCE,
    DISCREPANCY,
    SCORE_MOMENTS,
    KNOWN_VALUES,
)
"""All diagnostics, in the order of the page."""

FAILED = "failed"
"""Code of the finding that a diagnostic raised an error."""

WORDINGS: dict[str, Wording] = {
    FAILED: lambda found: Words(
        f"The diagnostic {found.parameters[0]} failed ({found.details['error']})."
    ),
    **{code: wording for one in DIAGNOSTICS for code, wording in one.wordings.items()},
}
"""Code -> wording, of all findings there are."""


@final
@dataclass(frozen=True)
class Assessment:
    """What the diagnostics found in a run.

    Attributes
    ----------
    verdict
        By R-hat and effective sample sizes.
    results
        Name of a diagnostic -> its numbers; one that failed, or had nothing to compute, is absent.
    findings
        Name of a diagnostic -> what it found.
    failures
        Name of a diagnostic -> why it failed.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> found = assess(az.from_dict({"posterior": {"x": x}}))
    >>> found.verdict.is_converged, found.status.value, found.failures
    (True, 'converged', {})
    >>> found
    Assessment: converged
    * The chains agree: R-hat is at most 1.00...
    * There are enough effective draws: the smallest ... effective sample size is ...
    * The draws show no initial transient.
    * One mode was found.
    >>> for remark in found.remarks():
    ...     print(remark.finding)
    The chains agree: R-hat is at most 1.00...
    There are enough effective draws: the smallest ... effective sample size is ...
    The draws show no initial transient.
    One mode was found.
    """

    verdict: Verdict
    results: Mapping[str, Any]
    findings: Mapping[str, list[Finding]]
    failures: Mapping[str, str]

    def __repr__(self) -> str:
        """The status, and a line for each finding."""
        return "\n".join([f"Assessment: {self.status.value}", *(f"* {one}" for one in self._texts)])

    @property
    def _texts(self) -> list[str]:
        return [" ".join(filter(None, (one.finding, one.advice))) for one in self.remarks()]

    @property
    def mixing(self) -> xr.Dataset:
        """As `mixing` returns it."""
        return self.results["mixing"]

    @property
    def burn_in(self) -> xr.Dataset | None:
        """As `burn_in` returns it; None if it failed."""
        return self.results.get("burn_in")

    @property
    def modes(self) -> xr.Dataset | None:
        """As `modes` returns it; None if it failed."""
        return self.results.get("modes")

    @property
    def discrepancy(self) -> xr.Dataset | None:
        """As `discrepancy` returns it; None if there is nothing to compare with, or it failed."""
        return self.results.get("discrepancy")

    @property
    def errors(self) -> pd.DataFrame:
        """As `expectation_errors` returns it; empty if no value is known."""
        return self.results["known_values"]

    @property
    def status(self) -> Status:
        """The run in one phrase."""

        def those(*, is_of_target: bool) -> list[Finding]:
            chosen = [one.name for one in DIAGNOSTICS if one.is_of_target is is_of_target]
            return [finding for name in chosen for finding in self.findings.get(name, ())]

        return overall(self.verdict, those(is_of_target=True), those(is_of_target=False))

    def remarks(self, name: str | None = None) -> list[Remark]:
        """Findings in words, the most severe first.

        Parameters
        ----------
        name
            Of one diagnostic; None for all.
        """
        chosen = self.findings if name is None else {name: self.findings.get(name, [])}
        return remarks([one for findings in chosen.values() for one in findings], WORDINGS)

    def with_result(self, name: str, result: Any) -> "Assessment":
        """The same with other numbers of one diagnostic.

        Parameters
        ----------
        name, result
            The diagnostic, and its numbers.
        """
        (diagnostic,) = (one for one in DIAGNOSTICS if one.name == name)
        found = diagnostic.findings(result, self.verdict)
        return replace(
            self,
            results={**self.results, name: result},
            findings={**self.findings, name: found},
        )


def assess(
    dt: xr.DataTree | MCMC | FlatDraws,
    target: Target | None = None,
    reference: Reference | None = None,
    *,
    logdensity_fn: LogDensityFn | None = None,
    variables: Sequence[str] | None = None,
    with_discrepancy: bool = True,
) -> Assessment:
    """All diagnostics of a run.

    Parameters
    ----------
    dt
        Draws: a tree of any origin, a fitted `numpyro.infer.MCMC`, or what `flatten` made of them.
    target
        What they should be draws of.
    reference
        Draws that are known to be good, as `discrepancy` takes them.
    logdensity_fn, variables
        In place of a target, point `(dim,)` -> log density, a point being the variables side by
        side in unconstrained coordinates; None for all variables.
    with_discrepancy
        Whether to compute distances from the target or the reference, which takes longest.

    Raises
    ------
    ValueError
        If there is no posterior, it lacks a variable that an expectation of the target reads, or
        both a target and a log density are given.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(4, 500))
    >>> found = assess(az.from_dict({"posterior": {"x": x}}))
    >>> found.verdict.is_converged, found.modes.attrs["num_modes"], found.failures
    (True, 1, {})
    """
    if target is not None and logdensity_fn is not None:
        raise ValueError("target has a log density of its own; give one of target, logdensity_fn")
    draws = flatten(dt)
    given = Given(target, reference, logdensity_fn, variables, with_discrepancy)
    results: dict[str, Any] = {}
    failures: dict[str, str] = {}
    # what verdict and known values rest on is not to fail in silence
    required = (MIXING, KNOWN_VALUES)
    for diagnostic in DIAGNOSTICS:
        try:
            with quiet():
                result = diagnostic.compute(draws, given)
        except Exception as error:
            if diagnostic in required:
                raise
            # draws too odd for one diagnostic must not cost the others
            failures[diagnostic.name] = f"{type(error).__name__}: {error}"
            continue
        if result is not None:
            results[diagnostic.name] = result
    verdict = judge(draws, results["mixing"])
    findings = {
        one.name: one.findings(results[one.name], verdict)
        for one in DIAGNOSTICS
        if one.name in results
    }
    for name, why in failures.items():
        details = {"error": why}
        findings[name] = [Finding(FAILED, Severity.NOTE, (name,), details=details)]
    return Assessment(verdict, results, findings, failures)
