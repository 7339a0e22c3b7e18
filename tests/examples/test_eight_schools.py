"""Numbers of the example on eight schools."""

import html

import numpy as np
import pytest

from tests.examples.conftest import Example, RunExample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(run_example: RunExample) -> Example:
    return run_example("eight_schools")


def test_one_line_changes_the_kernel_and_not_the_posterior(example: Example) -> None:
    tables = example.names["moment_tables"]
    assert set(tables) == {"NUTS", "MALA", "MALA, sequential"}
    for table in tables.values():
        assert len(table) == 20
        assert table.error_mcse.max() < 4.5
        assert (table.mcse > 0).all()
    assert example.names["apart"].max() < 4.5
    # a posterior that is nearly known: the errors are small beside what is to be found
    assert (tables["MALA"].mcse / tables["MALA"].sd).max() < 0.05


def test_quadrature_agrees_with_the_recorded_truth(example: Example) -> None:
    names = example.names
    assert names["mean_tau"] == pytest.approx(names["truth"]["mean(tau)"], rel=1e-3)
    assert 0 < names["neck"] < 1


def test_the_funnel_is_flagged_and_the_other_way_is_not(example: Example) -> None:
    found = example.names["found"]
    for kernel in ("MALA", "NUTS"):
        good, bad = found["non-centered", kernel], found["centered", kernel]
        assert good.verdict.is_converged
        assert not good.mixing.attrs["findings"]
        assert not good.burn_in.attrs["findings"]
        assert not bad.verdict.is_converged
        assert bad.mixing.attrs["findings"]
        assert bad.verdict.ess_bulk_min < good.verdict.ess_bulk_min / 5
    stands = {way: one.mixing.longest_rejection.max() for (way, _), one in found.items()}
    assert stands["centered"] > 3 * stands["non-centered"]
    # what marks a funnel for NUTS
    divergent = {way: found[way, "NUTS"].verdict.num_divergent for way in stands}
    assert divergent["centered"] > 10 * max(divergent["non-centered"], 1)


def test_the_mass_in_the_neck(example: Example) -> None:
    tables = example.names["neck_tables"]
    for kernel in ("MALA", "NUTS"):
        good, bad = tables["non-centered", kernel], tables["centered", kernel]
        assert good.error_mcse < 4.5
        # not known any better by chains that hardly enter it
        assert bad.mcse > 3 * good.mcse


def test_the_page_says_what_was_found(example: Example) -> None:
    names = example.names
    page = html.unescape(names["pages"]["centered"].read_text(encoding="utf-8"))
    assert "not converged" in page
    assert "The chains disagree" in page
    assert names["pages"]["centered"].name in example.text
    for finding in names["found"]["centered", "MALA"].mixing.attrs["findings"]:
        assert finding in example.text
    assert np.isfinite(names["per_gradient"]).all()
