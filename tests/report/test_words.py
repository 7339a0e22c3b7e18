from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from numpyro_score.comparison.summary import summary
from numpyro_score.comparison.table import COLUMNS
from numpyro_score.diagnostics import convergence, expectation_errors, judge, known_values
from numpyro_score.diagnostics.status import Status, status_of
from numpyro_score.diagnostics.verdict_findings import WORDINGS, verdict_findings
from numpyro_score.diagnostics.wording import remarks
from numpyro_score.targets import moments

RNG = np.random.default_rng(0)


def on_errors(errors, verdict):
    return remarks(known_values.findings(errors, verdict), known_values.WORDINGS)


FINE = RNG.normal(size=(4, 1000))


def said(dt, verdict=None):
    found = remarks(verdict_findings(verdict or judge(dt), convergence(dt)), WORDINGS)
    return " ".join(f"{remark.finding} {remark.advice}" for remark in found)


@pytest.mark.parametrize(
    ("x", "expected", "words"),
    [
        (FINE, Status.CONVERGED, "agree: R-hat is at most 1.00"),
        (FINE + np.array([[0], [0], [0], [1]]), Status.APART, "Do not use these draws"),
        (FINE[:, :60], Status.SHORT, "too few effective draws"),
        (FINE[:1], Status.UNKNOWN, "one chain"),
        (FINE[:, :3], Status.UNKNOWN, "too few draws to compute R-hat"),
        (np.where(FINE > 3, np.nan, FINE), Status.APART, "draws of x are not finite"),
        (FINE * np.array([[1], [1], [1], [0]]), Status.APART, "1 of 4 chains never moved"),
        (np.ones((4, 100)), Status.APART, "No chain ever moved"),
    ],
)
def test_a_run_is_judged_in_words(run, x, expected, words):
    dt = run({"x": x})
    assert status_of(judge(dt)) is expected
    assert words in said(dt)


def test_the_gravest_comes_first(run):
    dt = run({"x": FINE + np.array([[0], [0], [0], [1]])}, exact=0, complete=0)
    dt["sample_stats"]["diverging"][0, :10] = True
    found = remarks(verdict_findings(judge(dt), convergence(dt)), WORDINGS)
    grades = [remark.css_class for remark in found]
    assert grades[0] == "bad"
    assert grades == sorted(grades, key=["bad", "fair", "good"].index)
    text = said(dt)
    assert "10 of 4,000 steps are marked as divergent" in text
    assert "approximate" in text
    assert "Interrupted after 1,000 draws" in text


def test_how_much_longer_is_said_where_chains_agree(run):
    dt = run({"x": FINE})
    verdict = replace(judge(dt), rhat_max=1.001, ess_bulk_min=100.0)
    assert "Draw about 4.0 times as much, 4,000 draws per chain" in said(dt, verdict)
    near = replace(verdict, rhat_max=1.03)
    assert "4,000 draws per chain" in said(dt, near)
    apart = replace(verdict, rhat_max=1.2)
    assert "times as much" not in said(dt, apart)


def test_known_values_met_and_missed(run):
    known = moments("x", 0.0, 1.0, 3.0)

    def found(x, expectations=known):
        dt = run({"x": x})
        return on_errors(expectation_errors(dt, expectations), judge(dt))

    assert [remark.css_class for remark in found(FINE)] == ["good"]
    wrong = found(FINE + 0.3)
    assert [remark.css_class for remark in wrong] == ["bad"]
    assert "(x) is off its known value" in wrong[0].finding
    assert found(FINE, []) == []


def test_chains_that_disagree_confirm_nothing(run):
    apart = FINE + 3 * np.array([[-1], [1], [-1], [1]])
    dt = run({"x": apart})
    [remark] = on_errors(expectation_errors(dt, moments("x", 0.0, 10.0, 138.0)), judge(dt))
    assert remark.css_class == "fair"
    assert "The chains disagree" in remark.finding


def table_of(**rows):
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=COLUMNS)
    return table.astype({"exact": "boolean"})


def test_a_target_is_summed_up():
    table = table_of(
        a={"exact": True, "ess_per_evaluation": 0.1, "num_quantities": 0},
        b={"exact": True, "ess_per_evaluation": 0.2, "num_quantities": 0},
        c={"exact": True},
        d={"exact": False, "mean_error_sd": 0.25},
        e={"exact": None},
        f={"exact": True, "mean_error_mcse": 9.0, "num_quantities": 2},
    )
    statuses = {
        "a": Status.CONVERGED,
        "b": Status.CONVERGED,
        "c": Status.APART,
        "d": Status.CONVERGED,
        "e": Status.FAILED,
        "f": Status.CONVERGED,
    }
    found = [f"{remark.finding} {remark.advice}" for remark in summary(table, statuses)]
    assert "a and b converged. Most effective draws per evaluation b (2.0 times the next)." in found
    assert any(text.startswith("c did not converge") for text in found)
    assert any("d is approximate" in text and "0.25 sd" in text for text in found)
    assert any(text.startswith("e made no draws") for text in found)
    assert any(text.startswith("f seems converged, but known values") for text in found)
