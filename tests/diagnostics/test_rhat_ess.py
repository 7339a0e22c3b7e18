import arviz as az
import numpy as np
import pytest
import xarray as xr
from arviz_base import from_dict

from numpyro_score.diagnostics import convergence, worst_first
from numpyro_score.diagnostics.draws import flatten

RNG = np.random.default_rng(0)


def test_numbers_are_those_of_arviz(tree):
    x = np.cumsum(RNG.normal(size=(4, 300, 2)), axis=1) * 0.1 + RNG.normal(size=(4, 300, 2))
    dt = tree(x=x)
    table = convergence(dt)
    for name, expected in (
        ("ess_bulk", az.ess(dt)),
        ("ess_tail", az.ess(dt, method="tail")),
        ("rhat", az.rhat(dt)),
    ):
        ours, theirs = table[name].values, expected.x.values
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_what_cannot_be_computed_is_said(tree):
    x = RNG.normal(size=(4, 100))
    broken = x.copy()
    broken[1, 3] = np.inf
    table = convergence(tree(x=x, still=np.ones((4, 100)), broken=broken))
    assert table.is_constant.values.tolist() == [False, True, False]
    assert table.is_finite.values.tolist() == [True, True, False]
    assert np.isnan(table.rhat.values).tolist() == [False, True, True]


def test_whole_numbers_and_truth_values_count_but_text_does_not(tree):
    dt = tree(k=RNG.poisson(3.0, size=(4, 100)), b=RNG.random((4, 100)) < 0.5)
    dt["posterior"] = dt["posterior"].to_dataset().assign(s=(("chain", "draw"), [["a"] * 100] * 4))
    assert convergence(dt).parameter.values.tolist() == ["k", "b"]


def test_worst_come_first_and_those_that_never_change_not_at_all(tree):
    x = RNG.normal(size=(4, 200))
    broken = np.where(x > 2, np.nan, x)
    table = convergence(
        tree(fine=x, still=0 * x, slow=np.cumsum(x, axis=1), broken=broken, ok=x[::-1])
    )
    names = table.parameter.values[worst_first(table)].tolist()
    assert names[:2] == ["broken", "slow"]
    assert "still" not in names


def test_labels_may_repeat(tree):
    dt = from_dict(
        {"posterior": {"x": RNG.normal(size=(2, 50, 2))}},
        dims={"x": ["place"]},
        coords={"place": ["a", "a"]},
    )
    draws = flatten(dt)
    assert draws.labels == ["x[a]", "x[a]"]
    np.testing.assert_array_equal(draws.select([1])[0], dt.posterior.x[:, :, 1])


def test_dimensions_in_any_order(tree):
    x = RNG.normal(size=(4, 50, 3))
    data = tree(x=x)["posterior"].to_dataset().transpose(..., "draw", "chain")
    draws = flatten(xr.DataTree.from_dict({"posterior": data}))
    np.testing.assert_array_equal(draws.values[0], x[..., 0])


def test_no_posterior_is_an_error_that_lists_the_groups(tree):
    with pytest.raises(ValueError, match=r"no group 'posterior'.*prior"):
        convergence(from_dict({"prior": {"x": np.zeros((1, 10))}}))
    with pytest.raises(ValueError, match="no numeric draws"):
        convergence(tree(x=np.zeros((4, 0))))
