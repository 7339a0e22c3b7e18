"""Tails in which proposals are rejected: a planted neck is found, and chance makes none."""

import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics.assessment import DIAGNOSTICS, WORDINGS
from numpyro_score.diagnostics.draws import flatten
from numpyro_score.diagnostics.quick_check import quick_check, warning_text
from numpyro_score.diagnostics.record import Given
from numpyro_score.diagnostics.tail_acceptance import (
    lowest_rate,
    rejecting,
    statistics_of,
    tail_rates,
)
from numpyro_score.diagnostics.tail_acceptance_record import TAIL_ACCEPTANCE

WHERE = {"low tau", "high log density"}


def metropolis(rng, shape, rate):
    """Chains that move to new normal draws with a probability, and stay otherwise."""
    x = rng.normal(size=shape)
    is_rejected = rng.uniform(size=shape[1:]) > rate
    for i in range(1, shape[2]):
        x[:, is_rejected[:, i], i] = x[:, is_rejected[:, i], i - 1]
    return x


def neck(rng, shape):
    """Draws, and acceptance probabilities that are low where the first parameter is."""
    x = rng.normal(size=shape)
    return x, np.where(x[0] < -1.5, 0.03, 0.65)


def run(tree, x, acceptance, **attrs):
    dt = tree(tau=x[0], x=np.moveaxis(x[1:], 0, -1))
    statistics = {
        "acceptance_rate": (("chain", "draw"), acceptance),
        "lp": (("chain", "draw"), -x[0]),
    }
    data = xr.Dataset(statistics).assign_coords(draw=dt["posterior"].draw)
    dt["sample_stats"] = xr.DataTree(data)
    dt.attrs.update(attrs)
    return dt


@pytest.fixture(scope="module")
def sticky():
    return neck(np.random.default_rng(0), (3, 32, 2000))


@pytest.mark.parametrize("shape", [(1, 4000), (4, 1000), (32, 100)])
def test_a_region_that_rejects_is_found_in_its_tail_alone(shape):
    (tail,) = rejecting(*neck(np.random.default_rng(1), (3, *shape)))
    assert (tail.place, tail.is_high) == (0, False)
    assert tail.rate < lowest_rate(0.6)


@pytest.mark.parametrize("shape", [(1, 2000), (4, 250), (32, 100)])
@pytest.mark.parametrize("rate", [0.2, 0.6, 0.9])
def test_chance_makes_no_tail(shape, rate):
    """Of 200 parameters that have nothing to do with acceptance, none."""
    rng = np.random.default_rng(2)
    x = metropolis(rng, (200, *shape), rate)
    assert rejecting(x, rng.beta(rate, 1 - rate, size=shape)) == []


def test_one_long_stay_is_no_tail():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 8, 500))
    acceptance = rng.uniform(0.2, 1.0, size=(8, 500))
    x[0, 5, 100:400], acceptance[5, 100:400] = -4.0, 0.0
    assert tail_rates(x, acceptance)[0, 0] > 0.5
    assert rejecting(x, acceptance) == []


@pytest.mark.parametrize(("tail", "is_told"), [(0.8, False), (0.3, True)])
def test_of_short_steps_a_tail_may_accept_less(tail, is_told):
    """At .99, 25 times as many rejections per accepted step are still few."""
    x = np.random.default_rng(4).normal(size=(1, 16, 250))
    found = rejecting(x, np.where(x[0] < -1.645, tail, 0.99))
    assert bool(found) == is_told


def test_too_few_draws_and_no_acceptance_tell_nothing():
    x = np.random.default_rng(4).normal(size=(2, 4, 1000))
    assert rejecting(x[:, :, :100], np.where(x[0] < -1.645, 0.0, 0.9)[:, :100]) == []
    for rate in (0.0, 1.0, np.nan):
        assert rejecting(x, np.full((4, 1000), rate)) == []


def test_the_check_at_the_end_of_a_run_says_so(tree, sticky):
    dt = run(tree, *sticky)
    (found,) = quick_check(dt)
    assert (found.code, set(found.parameters)) == ("tail_acceptance", WHERE)
    assert found.value < 0.05 < found.limit
    text = warning_text([found])
    assert "Proposals are rejected at" in text
    assert "low tau" in text
    assert "Reparameterise" in text
    assert quick_check(run(tree, *sticky, independent_draws=1)) == []
    x, acceptance = sticky
    assert quick_check(run(tree, x, np.full_like(acceptance, 0.6))) == []


def test_the_full_diagnostics_say_so(tree, sticky):
    assert TAIL_ACCEPTANCE in DIAGNOSTICS
    (found,) = TAIL_ACCEPTANCE.compute(flatten(run(tree, *sticky)), Given())
    assert set(found.parameters) == WHERE
    words = WORDINGS[found.code](found)
    assert "over all draws 0.61" in words.finding
    assert "Reparameterise" in words.advice
    no_statistics = flatten(tree(x=sticky[0][0]))
    assert TAIL_ACCEPTANCE.compute(no_statistics, Given()) is None


def test_thinned_draws_find_their_statistics_by_label(tree, sticky):
    """As at the end of a run that is streamed to a file."""
    x, acceptance = sticky
    dt = run(tree, x, acceptance)
    dt["posterior"] = xr.DataTree(dt["posterior"].to_dataset().isel(draw=slice(None, None, 16)))
    (found,) = quick_check(dt)
    assert set(found.parameters) == WHERE
    data, statistics = dt["posterior"].to_dataset(), dt["sample_stats"].data_vars
    known = statistics_of(data, statistics)
    np.testing.assert_array_equal(known["acceptance_rate"], acceptance[:, ::16])
    # without labels it is not known which
    assert statistics_of(data.drop_vars("draw"), statistics) == {}
    other = data.assign_coords(draw=data.draw + 10_000)
    assert statistics_of(other, statistics) == {}


def test_chains_find_their_statistics_by_label(tree, sticky):
    x, acceptance = sticky
    dt = run(tree, x, acceptance)
    kept = dt["posterior"].to_dataset().isel(chain=slice(None, None, -2))
    statistics = dt["sample_stats"].to_dataset()
    whole = statistics.assign_coords(chain=dt["posterior"].chain)
    found = statistics_of(kept, whole.data_vars)["acceptance_rate"]
    np.testing.assert_array_equal(found, acceptance[::-2])
    # of unlabelled chains nobody knows which are left out
    dt["posterior"] = xr.DataTree(kept)
    assert statistics_of(kept, statistics.data_vars) == {}
    assert all(found.code != "tail_acceptance" for found in quick_check(dt))
