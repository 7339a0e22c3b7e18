"""Findings are data: each code has a wording, and no wording decides what is shown."""

import ast
import re
from pathlib import Path

import numpy as np

import numpyro_score.diagnostics
from numpyro_score.diagnostics import Severity, assess
from numpyro_score.diagnostics.assessment import DIAGNOSTICS, WORDINGS
from numpyro_score.diagnostics.wording import Words
from numpyro_score.report import write_report

RNG = np.random.default_rng(0)
PACKAGE = Path(numpyro_score.diagnostics.__file__).parent


def codes_made() -> set[str]:
    """Codes with which the source makes findings."""
    codes = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding"):
                continue
            code = node.args[0]
            if isinstance(code, ast.Constant):
                assert isinstance(code.value, str)
                codes.add(code.value)
    return codes


def test_every_code_has_a_wording():
    assert codes_made() <= set(WORDINGS)
    assert len(codes_made()) > 20


def test_no_two_diagnostics_word_one_code():
    codes = [code for diagnostic in DIAGNOSTICS for code in diagnostic.wordings]
    assert len(codes) == len(set(codes))
    assert len({one.name for one in DIAGNOSTICS}) == len(DIAGNOSTICS)
    assert len({one.anchor for one in DIAGNOSTICS}) == len(DIAGNOSTICS)


def odd_runs(tree):
    """Runs in which much is wrong."""
    x = RNG.normal(size=(4, 400, 2))
    x[3, :, 0] += 12
    x[2, 100:200] = x[2, 100]
    late = RNG.normal(size=(4, 400)) + 20 * 0.99 ** np.arange(400)
    broken = np.where(RNG.random((4, 400)) < 0.01, np.nan, RNG.normal(size=(4, 400)))
    yield tree(x=x, late=late, broken=broken)
    yield tree(x=np.ones((4, 100)))
    yield tree(x=RNG.normal(size=(1, 100)))
    yield tree(x=RNG.normal(size=(4, 3)))


def test_rewording_drops_nothing(tree, monkeypatch, tmp_path):
    """Every sentence becomes another one: the same findings are on the page."""
    runs = list(odd_runs(tree))
    before = [assess(dt) for dt in runs]
    for code in WORDINGS:
        monkeypatch.setitem(WORDINGS, code, lambda found: Words(f"<{found.code}> in other words."))
    for dt, was in zip(runs, before, strict=True):
        found = assess(dt)
        codes = [[one.code for one in group] for group in found.findings.values()]
        assert codes == [[one.code for one in group] for group in was.findings.values()]
        assert found.status is was.status
        said = [remark.finding for remark in found.remarks()]
        assert len(said) == sum(map(len, codes))
    page = write_report(runs[0], tmp_path / "x.html", progress=False).read_text("utf-8")
    for group in before[0].findings.values():
        for one in group:
            assert f"&lt;{one.code}&gt; in other words." in page


def test_an_advice_is_given_once(tree, tmp_path):
    run = next(odd_runs(tree))
    advice = [remark.advice for remark in assess(run).remarks() if remark.advice]
    assert len(set(advice)) < len(advice)
    page = write_report(run, tmp_path / "x.html", progress=False).read_text("utf-8")
    for block in page.split("<h3>What to do</h3>")[1:]:
        said = re.findall(r'<li class="do">(.*?)</li>', block.partition("</ul>")[0])
        assert len(said) == len(set(said)) > 0


def test_words_are_sentences(tree):
    for dt in odd_runs(tree):
        for remark in assess(dt).remarks():
            assert remark.finding.endswith(".")
            assert "nan" not in remark.finding
            assert not remark.advice or remark.advice.endswith(".")


def test_severity_decides_what_is_flagged(tree):
    found = assess(tree(x=RNG.normal(size=(1, 1000))))
    flagged = [one for group in found.findings.values() for one in group if one.is_flagged]
    assert flagged == []
    assert any(one.severity is Severity.NOTE for one in found.findings["mixing"])
    assert found.mixing.attrs["is_flagged"] == 0
