"""The page about a calibration, and expected coverage, from ranks that are known."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from numpyro_score.calibration.credible import DENSITY, DISTANCE
from numpyro_score.calibration.ranks import Ranked
from numpyro_score.calibration.result import Calibration, summarise

NUM = 500


def calibration(
    pit: dict[str, np.ndarray], ess: float = 400.0, follows: float = 1.0
) -> Calibration:
    """The result for these ranks, of posteriors N(m, 1) that hold the truth at its quantile."""
    values = np.stack(list(pit.values()), axis=1)
    mean, ones = follows * np.linspace(-3, 3, NUM)[:, None] + 0 * values, np.ones_like(values)
    truth = mean + stats.norm.ppf(values)
    ranked = Ranked(values, truth, mean, ones, np.full(NUM, ess), np.ones(NUM))
    return summarise(ranked, list(pit), 0.05, data_sets="drawn from the prior")


def narrow(rng: np.random.Generator, sd: float) -> np.ndarray:
    """Ranks under posteriors whose sd should be `sd` and is 1."""
    return stats.norm.cdf(sd * rng.normal(size=NUM))


def test_the_page_says_what_is_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # a site's name comes from the user
    found = calibration({"mu": rng.uniform(size=NUM), "<b>": narrow(rng, 1.5)})
    text = found.to_html(tmp_path / "page.html", title="Mine").read_text("utf-8")
    assert "The ranks of &lt;b&gt; are not uniform: posteriors are too narrow (1." in text
    assert "<b>" not in text
    assert found.verdict.replace("<b>", "&lt;b&gt;") in text
    assert text.count("data:image/svg+xml") == 1
    good = calibration({"mu": rng.uniform(size=NUM)})
    text = good.to_html(tmp_path / "page.html").read_text("utf-8")
    assert "no miscalibration found" in text
    assert "too narrow" not in text.split("Ranks</h2>")[0]


def test_problems_are_on_the_page_and_warned_of(tmp_path: Path) -> None:
    ranks = {"mu": np.random.default_rng(0).uniform(size=NUM)}
    with pytest.warns(UserWarning, match="500 of 500 refits have fewer than 50 effective draws"):
        found = calibration(ranks, ess=20.0)
    text = found.to_html(tmp_path / "page.html").read_text("utf-8")
    assert "500 of 500 refits have fewer than 50 effective draws" in text


def test_what_has_no_finite_draws_is_not_tested_and_not_called_calibrated(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pit = {"mu": rng.uniform(size=NUM), "bad": np.full(NUM, np.nan)}
    with pytest.warns(UserWarning, match="500 of 500 refits have draws that are not finite"):
        found = calibration(pit)
    assert found.verdict.endswith("all 1 quantities together). Not tested: bad.")
    assert found.table.index.tolist() == ["mu"]
    assert "Not tested: bad" in found.to_html(tmp_path / "page.html").read_text("utf-8")
    with pytest.raises(ValueError, match="no refit has finite values of bad"):
        calibration({"bad": pit["bad"]})


def test_refits_that_are_left_out_do_not_count_in_the_verdict() -> None:
    ranks = np.random.default_rng(0).uniform(size=NUM)
    ranks[:100] = np.nan
    with pytest.warns(UserWarning, match="100 of 500 refits have draws that are not finite"):
        found = calibration({"mu": ranks})
    assert "No miscalibration found in 400 of 500 refits" in found.verdict


def test_parameters_of_too_short_a_run_are_warned_of() -> None:
    values = np.random.default_rng(0).uniform(size=(NUM, 1))
    mean = np.linspace(-3, 3, NUM)[:, None]
    ranked = Ranked(values, mean, mean, 1 + 0 * mean, np.full(NUM, 400.0), np.ones(NUM))
    where = "drawn from the posterior"
    assert not summarise(ranked, ["mu"], 0.05, data_sets=where, source_ess=600.0).problems
    with pytest.warns(UserWarning, match="has 90 effective draws for 500 simulations"):
        summarise(ranked, ["mu"], 0.05, data_sets=where, source_ess=90.0)


def test_what_is_constant_is_not_tested() -> None:
    rng = np.random.default_rng(0)
    values, ones = rng.uniform(size=(NUM, 2)), np.ones((NUM, 2))
    mean = rng.normal(size=(NUM, 2)) * [1.0, 0.0]
    ranked = Ranked(values, mean, mean, ones * [1.0, 0.0], np.full(NUM, 400.0), np.ones(NUM))
    found = summarise(ranked, ["mu", "zero"], 0.05, data_sets="drawn from the prior")
    assert found.table.index.tolist() == ["mu"]
    assert found.verdict.endswith("all 1 quantities together). Not tested: zero.")


def test_draws_of_the_prior_are_not_silently_calibrated() -> None:
    # means that do not depend on the data: the ranks of parameters are uniform all the same
    rng = np.random.default_rng(0)
    parameters = {"mu": rng.uniform(size=NUM)}
    with pytest.warns(UserWarning, match="means of the draws do not follow the true values"):
        calibration(parameters, follows=0.0)
    # nor do distances tell, which truth and draws have from one random point
    mean = np.linspace(-3, 3, NUM)[:, None] * [0.0, 1.0]
    values = rng.uniform(size=(NUM, 2))
    ranked = Ranked(values, mean + values, mean, 1 + 0 * mean, np.full(NUM, 400.0), np.ones(NUM))
    with pytest.warns(UserWarning, match="means of the draws do not follow the true values"):
        summarise(ranked, ["mu", DISTANCE], 0.05, data_sets="drawn from the prior")
    # the likelihood's ranks would tell
    assert not calibration({**parameters, "log_likelihood": parameters["mu"]}, follows=0.0).problems


def test_expected_coverage_is_that_of_known_regions(tmp_path: Path) -> None:
    # posteriors N(0, 1) of truths N(0, sd^2): the region |x| < z holds 2 Phi(z / sd) - 1
    rng = np.random.default_rng(1)
    for sd in (1.0, 1.5, 0.7):
        truth = sd * rng.normal(size=NUM)
        inside = 2 * stats.norm.cdf(np.abs(truth)) - 1
        found = calibration({DENSITY: 1 - inside, DISTANCE: inside}).coverage(9)
        expected = 2 * stats.norm.cdf(stats.norm.ppf((1 + found.index.values) / 2) / sd) - 1
        error = np.sqrt(expected * (1 - expected) / NUM)
        for values in found.values.T:
            assert (np.abs(values - expected) < 4 * error).all()
    page = calibration({DENSITY: 1 - inside, DISTANCE: inside}).to_html(tmp_path / "page.html")
    assert page.read_text("utf-8").count("data:image/svg+xml") == 2
    with pytest.raises(ValueError, match="log_posterior, distance were not ranked"):
        calibration({"mu": inside}).coverage()
