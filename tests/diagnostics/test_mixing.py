import arviz as az
import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression

from numpyro_score.diagnostics.formatting import number
from numpyro_score.diagnostics.mixing import mixing
from numpyro_score.diagnostics.rejection import longest_rejection
from numpyro_score.diagnostics.rstar import rstar, try_rstar
from numpyro_score.diagnostics.superchains import rhat_limit, superchain_ids


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_numbers_are_those_of_arviz(tree, ar1):
    x = ar1(np.random.default_rng(0), 0.6, (3, 8, 300)).transpose(1, 2, 0)
    dt = tree(x=x)
    ids = [0, 0, 1, 1, 2, 2, 3, 3]
    dt.attrs["superchain_ids"] = ids
    table = mixing(dt, with_rstar=False)
    for name, expected in (
        ("ess_bulk", az.ess(dt)),
        ("ess_tail", az.ess(dt, method="tail")),
        ("rhat", az.rhat(dt)),
        ("rhat_nested", az.rhat_nested(dt, superchain_ids=ids)),
        ("mcse", az.mcse(dt)),
    ):
        np.testing.assert_allclose(table[name].values, expected.x.values, rtol=1e-12)


def test_eight_schools_of_arviz():
    centred = mixing(az.load_arviz_data("centered_eight"))
    assert centred.attrs["is_flagged"] == 1
    assert centred.is_flagged.sel(parameter="tau")
    assert "tau" in " ".join(centred.attrs["findings"])
    other = mixing(az.load_arviz_data("non_centered_eight"))
    assert other.attrs["findings"] == []
    assert not other.is_flagged.any()


def test_autocorrelation_time_of_an_autoregression(tree, ar1):
    table = mixing(tree(x=ar1(np.random.default_rng(1), 0.9, (16, 4000))), with_rstar=False)
    assert table.tau.item() == pytest.approx(19, rel=0.15)
    assert table.ess_bulk.item() == pytest.approx(16 * 4000 / 19, rel=0.15)
    assert table.tau_is_trusted


def test_a_slow_chain_is_told_so(tree, ar1):
    table = mixing(tree(x=ar1(np.random.default_rng(2), 0.98, (4, 1000))))
    assert any("too few effective draws of x" in finding for finding in table.attrs["findings"])
    assert any("autocorrelation times are unreliable" in n for n in table.attrs["notes"])


def test_rstar_sees_what_no_parameter_shows(tree):
    x = normal(3, 4, 1000, 2)
    x[3, :, 1] = 0.9 * x[3, :, 0] + np.sqrt(0.19) * x[3, :, 1]
    table = mixing(tree(x=x))
    assert (table.rhat < 1.01).all()
    assert table.attrs["findings"] == [
        f"A classifier can tell the chains apart: R* is {number(table.rstar.item())} with a "
        f"standard error of {number(table.rstar_se.item(), 2)}, where 1 is chance."
    ]
    assert table.rstar - 4 * table.rstar_se > 1


def test_rstar_of_the_best_classifier_there_is():
    """One of four chains .5 sd away: the best guess has R* = 2 Phi(.25)."""
    x = normal(4, 4, 5000, 1)
    x[3] += 0.5
    result = rstar(x, classifier=LogisticRegression())
    assert abs(result.value - 2 * 0.5987) < 4 * result.standard_error
    assert result.p_value < 1e-6


def test_rstar_p_values_of_chains_alike(ar1):
    """Not too small, with autocorrelation too; a split at random would find neighbours."""
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(40):
        x = ar1(rng, 0.8, (2, 4, 400)).transpose(1, 2, 0)
        p_values.append(rstar(x, tau=9.0).p_value)
    assert np.mean(np.array(p_values) < 0.2) < 0.2 + 4 * np.sqrt(0.2 * 0.8 / 40)
    assert min(p_values) > 1e-4


def test_rstar_is_the_same_again():
    x = normal(6, 4, 200, 3)
    assert rstar(x, seed=3) == rstar(x, seed=3)


def test_rstar_wants_chains():
    with pytest.raises(ValueError, match=r"at least 2 chains of 20 draws, got 1 of 100"):
        rstar(normal(7, 1, 100, 2))
    assert try_rstar([], 1.0)[1] == "no parameter varies and is finite"
    assert try_rstar([normal(7, 4, 5)], 1.0)[1] == "there are fewer than 20 draws a chain"


def test_longest_rejection_is_a_loop():
    rng = np.random.default_rng(8)
    has_moved = rng.random((5, 60)) < 0.4
    has_moved[4] = False
    for row, found in zip(has_moved, longest_rejection(has_moved), strict=True):
        longest = run = 0
        for moved in row:
            run = 0 if moved else run + 1
            longest = max(longest, run)
        assert found == longest
    assert longest_rejection(np.zeros((2, 0), bool)).tolist() == [0, 0]


def test_a_chain_that_stands_still(tree):
    x = normal(9, 4, 1000, 3)
    x[2, 100:250] = x[2, 100]
    table = mixing(tree(x=x), with_rstar=False)
    assert table.longest_rejection.values.tolist() == [0, 0, 149, 0]
    assert "Some chains did not move for up to 149 of 1000 steps" in table.attrs["findings"][0]
    # all parameters have to stand still
    x = normal(9, 4, 1000, 3)
    x[2, 100:250, 0] = 0.0
    assert (mixing(tree(x=x), with_rstar=False).longest_rejection == 0).all()


def test_a_chain_that_never_moved(tree):
    x = normal(10, 4, 100)
    x[1] = 0.5
    findings = mixing(tree(x=x)).attrs["findings"]
    assert "1 of 4 chains never moved: chain 1." in findings


def test_acceptance_against_its_target(tree):
    dt = tree(x=normal(11, 4, 500))
    rate = np.full((4, 500), 0.6)
    rate[3] = 0.2
    dims = ("chain", "draw")
    dt["sample_stats"] = xr.Dataset({"acceptance_rate": (dims, rate)})
    assert mixing(dt).attrs["findings"] == []
    assert any("no target" in note for note in mixing(dt).attrs["notes"])
    dt.attrs["target_accept_prob"] = 0.574
    table = mixing(dt)
    np.testing.assert_allclose(table.acceptance, [0.6, 0.6, 0.6, 0.2])
    assert table.attrs["findings"] == [
        "The acceptance rate falls to 0.20, below half of its target 0.57, in chain 3."
    ]


def test_nested_rhat_sees_superchains_apart(tree):
    """Chains of one start alike, starts apart; and its limit allows for few draws."""
    dt = tree(x=normal(12, 32, 10))
    dt.attrs["superchain_ids"] = np.repeat(np.arange(4), 8)
    table = mixing(dt, with_rstar=False)
    assert table.rhat_nested_limit > 1.01
    assert table.rhat_nested < table.rhat_nested_limit
    apart = dt.copy(deep=True)
    apart["posterior"]["x"] = apart["posterior"]["x"] + np.repeat(normal(13, 4), 8)[:, None]
    table = mixing(apart, with_rstar=False)
    assert table.rhat_nested > table.rhat_nested_limit
    assert any("superchains disagree on x" in finding for finding in table.attrs["findings"])


def test_limit_of_rhat_is_its_quantile():
    """R-hat^2 - 1 of K means of e draws beyond that of chance: at most 5 in 1,000."""
    rng = np.random.default_rng(14)
    means = rng.normal(size=(20_000, 6)) / np.sqrt(40)
    rhat = np.sqrt(1 + means.var(axis=1, ddof=1))
    limit = rhat_limit(6, np.array(40.0))
    assert 0 < np.mean(rhat**2 - 1 > limit**2 - 1.01**2) < 0.005 + 4 * np.sqrt(0.005 / 20_000)


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (None, "no superchains are recorded"),
        ([0, 1], "2 superchain ids are recorded for 4 chains"),
        ([0, 0, 0, 0], "at least 2 superchains"),
        ([0, 0, 0, 1], "equally many chains"),
    ],
)
def test_superchains_that_are_none(ids, reason):
    dt = xr.DataTree()
    if ids is not None:
        dt.attrs["superchain_ids"] = ids
    found, why = superchain_ids(dt, 4)
    assert found is None
    assert reason in why


def test_what_cannot_be_computed_is_said(tree):
    x = normal(15, 4, 200)
    broken = x.copy()
    broken[1, 3] = np.inf
    table = mixing(tree(x=x, broken=broken, still=np.ones((4, 200))))
    assert table.is_flagged.values.tolist() == [False, True, False]
    assert table.attrs["findings"] == [
        "Some draws of broken are not finite; no statistic of these parameters can be computed."
    ]
    assert np.isnan(table.tau.values).tolist() == [False, True, True]
    assert np.isfinite(table.rstar)
    assert any("still: constant" in note for note in table.attrs["notes"])


def test_one_chain_and_few_draws(tree):
    table = mixing(tree(x=normal(16, 1, 500)))
    assert table.attrs["findings"] == []
    assert any(
        note == "R-hat is not computed: there is one chain." for note in table.attrs["notes"]
    )
    for num_draws in (1, 2, 3, 10):
        table = mixing(tree(x=normal(17, 4, num_draws)))
        assert any("R* is not computed" in note for note in table.attrs["notes"])
    with pytest.raises(ValueError, match="no numeric draws"):
        mixing(tree(x=np.zeros((4, 0))))
