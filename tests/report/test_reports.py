import stat
from html.parser import HTMLParser

import arviz as az
import numpy as np
import pytest

from numpyro_score.comparison import compare, write_comparison
from numpyro_score.diagnostics.assessment import assess
from numpyro_score.report import write_report
from numpyro_score.report.page import write

RNG = np.random.default_rng(0)
NASTY = "<script>alert(1)"


class Page(HTMLParser):
    """What a page is made of: its tags, what it refers to, its text."""

    def __init__(self, html):
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.images: list[dict] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.references += [values[k] for k in ("src", "href", "action", "data") if k in values]
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "img":
            self.images.append(values)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def source(comparison_page):
    return comparison_page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_nothing_is_fetched_and_nothing_runs(page):
    assert "script" not in page.tags
    assert page.references
    assert all(ref.startswith(("#", "data:")) for ref in page.references)


def test_every_inner_link_leads_somewhere(page):
    assert len(set(page.ids)) == len(page.ids)
    inner = {ref[1:] for ref in page.references if ref.startswith("#")}
    assert inner <= set(page.ids)


def test_every_run_has_its_pictures_in_words_too(page):
    # five of every run; one that is stuck in modes has pairs, jumps and shares in place of one
    assert len(page.images) == 1 + 5 + 7 + 5
    assert all(image["src"].startswith("data:image/svg+xml,") for image in page.images)
    assert all(image["alt"] for image in page.images)
    assert sum(NASTY in image["alt"] or "x[" in image["alt"] for image in page.images) >= 13


def test_the_page_says_what_happened(page):
    for words in (
        "good converged.",
        "stuck did not converge.",
        "biased is approximate, hence biased.",
        "broken made no draws",
        "ValueError: <img src=x> is no model",
        "toy & <b>",
        f"mean({NASTY})",
        "Shaded: warmup",
    ):
        assert words in " ".join(page.text.split())


def test_columns_are_explained(page):
    for heading in ("max R-hat", "min bulk ESS", "ESS per 1,000 evals", "error, means"):
        assert page.text.count(heading) == 2


def test_a_biased_kernel_says_so_wherever_it_is_shown(source, comparison, tmp_path):
    # in the summary, in the table, at the run's head, in its remarks
    assert source.count("approximate") >= 5
    dt = comparison.runs["toy & <b>", "biased"]
    html = write_report(dt, tmp_path / "y.html", progress=False).read_text("utf-8")
    assert "badge approximate" in html
    assert "not the posterior, however long" in html


def test_a_comparison_of_nothing_but_failures_makes_a_page(comparison, tmp_path):
    import dataclasses

    empty = dataclasses.replace(
        comparison,
        table=comparison.table.loc[[("toy & <b>", "broken")]],
        errors=comparison.errors.iloc[:0],
        runs={},
        verdicts={},
        is_complete=False,
    )
    html = write_comparison(empty, tmp_path / "x.html", progress=False).read_text("utf-8")
    assert "was interrupted" in html
    assert "&lt;img src=x&gt; is no model" in html


def test_pictures_that_were_drawn_with_the_runs_are_not_drawn_again(
    comparison, tmp_path, monkeypatch
):
    import dataclasses

    from numpyro_score.comparison import page

    def refuse(*args):
        raise RuntimeError("no")

    place = "toy & <b>", "good"
    dt = comparison.runs[place]
    assessed = assess(dt)
    with monkeypatch.context() as patch:
        # nothing is drawn here, which takes long
        patch.setattr("numpyro_score.report.run_view.pictures", lambda plans, name: [])
        view = page.run_view(dt, assessed, "good")._replace(left_out="drawn before")
    monkeypatch.setattr(page, "run_view", refuse)
    found = dataclasses.replace(
        comparison, runs={place: dt}, assessments={place: assessed}, views={place: view}
    )
    html = write_comparison(found, tmp_path / "x.html", progress=False).read_text("utf-8")
    assert "drawn before" in html
    assert 'id="run-0-0"' in html


def test_what_compare_returns_writes_its_page(tmp_path):
    def refuse(model):
        raise RuntimeError("no")

    from jax.random import key

    from numpyro_score.targets import std_gaussian

    found = compare({"refuse": refuse}, [std_gaussian(1)], key(0), progress=False)
    assert found.to_html(tmp_path / "x.html", progress=False).is_file()


def test_a_run_of_another_program(tmp_path):
    draws = {"mu": RNG.normal(size=(4, 500)), "theta": RNG.normal(size=(4, 500, 30))}
    stats = {"diverging": RNG.random((4, 500)) < 0.01, "tree_depth": np.ones((4, 500), int)}
    dt = az.from_dict({"posterior": draws, "sample_stats": stats})
    dt["posterior"].attrs["inference_library"] = "pymc"
    path = write_report(dt, tmp_path / "x.html", title="their <model>", progress=False)
    page = Page(path.read_text("utf-8"))
    text = " ".join(page.text.split())
    assert "their <model>" in text
    assert "pymc" in text
    assert "marked as divergent" in text
    assert "26 left out" in text
    assert "The 20 least reliable of 31 parameters are listed" in text
    assert "no warmup is kept" in text
    assert len(page.images) == 3 + 2 + 1
    assert {"short", "mixing", "burn-in", "modes"} <= set(page.ids)


def test_a_run_of_which_nothing_can_be_told(tmp_path, run):
    path = write_report(run({"x": np.ones((4, 100))}), tmp_path / "x.html", progress=False)
    text = path.read_text("utf-8")
    assert "No chain ever moved" in text
    assert "Nothing to draw" in text


def test_no_posterior_is_an_error_and_no_file(tmp_path):
    with pytest.raises(ValueError, match="no group 'posterior'"):
        write_report(
            az.from_dict({"prior": {"x": np.zeros((1, 10))}}), tmp_path / "x.html", progress=False
        )
    assert list(tmp_path.iterdir()) == []


def test_progress_in_a_log_names_each_picture(tmp_path, run, capsys):
    write_report(run({"x": RNG.normal(size=(4, 50))}), tmp_path / "x.html")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["report:", lines[1]]
    assert lines[1].startswith("[1] diagnostics: done")
    assert lines[4].startswith("[4] growth")


def test_a_page_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "x.html"
    path.write_text("old")
    assert write("new ü", path) == path
    assert path.read_text("utf-8") == "new ü"
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    assert [p.name for p in tmp_path.iterdir()] == ["x.html"]
    with pytest.raises(FileNotFoundError):
        write("new", tmp_path / "nowhere" / "x.html")


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (RNG.normal(size=(1, 200)), "There is one chain"),
        (RNG.normal(size=(4, 3)), "too few draws to compute R-hat"),
        (RNG.normal(size=(1, 1)), "There is one chain"),
        (np.ones((4, 50)), "No chain ever moved"),
        (np.full((4, 50), np.nan), "Some draws of x are not finite"),
        (np.where(RNG.random((4, 50)) < 0.02, np.inf, 1.0), "Some draws of x are not finite"),
        (1e300 * RNG.normal(size=(4, 50)), "too few effective draws"),
        (RNG.random((4, 50)) < 0.5, "too few effective draws"),
    ],
    ids=["one chain", "three", "one", "constant", "nan", "inf", "huge", "bool"],
)
def test_what_cannot_be_computed_is_said(tmp_path, run, x, words):
    page = Page(write_report(run({"x": x}), tmp_path / "x.html", progress=False).read_text("utf-8"))
    assert words in " ".join(page.text.split())
    assert "could not be drawn" not in page.text
    assert {"short", "mixing", "burn-in"} <= set(page.ids)


def test_an_approximate_sampler_is_judged_by_its_error(tmp_path, run):
    from numpyro_score.targets import DensityTarget, moments

    known = moments("x", 0.0, 1.0, 3.0)
    target = DensityTarget("toy", "N(0, 1)", 1, lambda x: -0.5 * (x**2).sum(), known)
    for shift, status in ((0.0, "independent draws"), (0.5, "off the target")):
        dt = run({"x": shift + RNG.normal(size=(4, 250))}, exact=0, independent_draws=1)
        page = Page(
            write_report(dt, tmp_path / "x.html", target=target, progress=False).read_text("utf-8")
        )
        text = " ".join(page.text.split())
        assert status in text
        assert "R-hat and burn-in do not apply" in text
        assert "its draws come from a distribution that is not the posterior" in text
        assert "burn-in" not in page.ids
        assert {"known", "discrepancy"} <= set(page.ids)


def test_other_diagnostics_decide_too(tmp_path, run):
    x = RNG.normal(size=(4, 2000)) + 20 * 0.98 ** np.arange(2000)
    text = write_report(run({"x": x}), tmp_path / "x.html", progress=False).read_text("utf-8")
    assert "still shows the initial transient" in text
    assert "drop_burn_in(dt)" in text


def test_hundreds_of_parameters_fit_on_a_page(tmp_path, run):
    x = RNG.normal(size=(4, 60, 200))
    x[0, :, 123] += 2
    path = write_report(run({"theta": x}), tmp_path / "x.html", progress=False)
    page = Page(path.read_text("utf-8"))
    assert path.stat().st_size < 2e6
    assert "theta[123]" in page.text
    assert "The 20 least reliable of 200 parameters are listed" in " ".join(page.text.split())
