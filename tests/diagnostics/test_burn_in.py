import arviz as az
import numpy as np
import pytest
import xarray as xr

from numpyro_score.diagnostics.burn_in import burn_in
from numpyro_score.diagnostics.burn_in_findings import WORDINGS, findings
from numpyro_score.diagnostics.drop import drop_burn_in
from numpyro_score.diagnostics.finding import Severity

DRAW = np.arange(1000)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def with_warmup(x, num_warmup):
    def group(values):
        coords = {"chain": np.arange(len(x)), "draw": np.arange(values.shape[1])}
        return xr.Dataset({"x": (("chain", "draw"), values)}, coords=coords)

    early, late = group(x[:, :num_warmup]), group(x[:, num_warmup:])
    stats = late.rename(x="lp")
    groups = {"posterior": late, "warmup_posterior": early, "sample_stats": stats}
    return xr.DataTree.from_dict(groups)


def test_a_start_of_known_length(tree, ar1):
    """From 20 sds away the bias falls below a hundredth of an sd after 7.6 decay times."""
    rng = np.random.default_rng(0)
    for coefficient, decay in ((0.0, 30.0), (0.7, 30.0)):
        x = ar1(rng, coefficient, (4, 1000)) + 20 * np.exp(-DRAW / decay)
        result = burn_in(tree(x=x))
        assert result.attrs["is_flagged"] == 1
        assert 2.5 * decay < result.recommended < 7.6 * decay
        # two independent methods agree on it
        by_estimator = dict(zip(result.estimator.values, result.by_estimator.values, strict=True))
        assert abs(by_estimator["mser"] - by_estimator["geweke"]) < 2 * decay
        left = x[:, int(result.recommended) :]
        assert abs(left.mean()) < 5 / np.sqrt(left.size / result.tau.item()) + 0.01


def test_a_chain_that_starts_where_it_stays(tree, ar1):
    result = burn_in(tree(x=ar1(np.random.default_rng(1), 0.5, (4, 1000))))
    assert result.attrs["is_flagged"] == 0
    assert result.recommended == 0
    assert result.num_to_drop == 0
    assert abs(result.tau.item() - 3) < 1
    np.testing.assert_array_equal(result.ess, result.ess_left)
    assert (result.rhat < 1.02).all()


def test_effective_draws_are_arviz(tree):
    x = normal(2, 4, 1000) + 20 * np.exp(-DRAW / 20)
    result = burn_in(tree(x=x))
    left = az.ess(x[:, int(result.num_to_drop) :])
    np.testing.assert_allclose(result.ess_left.item(), left, rtol=1e-12)
    assert result.ess_left > 2 * result.ess


def test_one_late_chain_among_many_parameters(tree):
    x = normal(3, 4, 1000, 20)
    x[2, :100, 7] += 4
    result = burn_in(tree(x=x))
    assert result.parameter.values[result.is_flagged.values].tolist() == ["x[7]"]
    assert (np.abs(result.geweke_z.sel(parameter="x[7]")) > 5).values.tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert "x[7]" in result.attrs["findings"][0]


@pytest.mark.parametrize(("num_warmup", "is_flagged"), [(300, 0), (50, 1)])
def test_warmup_counts(num_warmup, is_flagged):
    x = normal(4, 4, 1000) + 20 * np.exp(-DRAW / 30)
    result = burn_in(with_warmup(x, num_warmup))
    alone = burn_in(with_warmup(x, 0))
    assert result.attrs["is_flagged"] == is_flagged
    assert result.recommended == alone.recommended
    assert result.num_to_drop == max(alone.recommended.item() - num_warmup, 0)


def test_warmup_of_other_variables_is_left_out_and_said(tree):
    dt = with_warmup(normal(5, 4, 400), 100)
    dt["warmup_posterior"] = dt["warmup_posterior"].to_dataset().rename(x="y")
    result = burn_in(dt)
    assert result.attrs["num_warmup"] == 0
    assert any("the kept warmup lacks x" in note for note in result.attrs["notes"])


def test_a_start_longer_than_the_first_half_has_no_end(tree):
    dt = tree(x=normal(6, 4, 1000) + 10 * (DRAW < 520))
    result = burn_in(dt)
    assert result.attrs["is_flagged"] == 1
    assert np.isnan(result.recommended)
    assert "run longer" in result.attrs["findings"][0]
    with pytest.raises(ValueError, match=r"no number of draws can be recommended.*run longer"):
        drop_burn_in(dt)


def test_a_drift_to_the_end_is_slow_mixing_and_not_trusted(tree):
    result = burn_in(tree(x=normal(6, 4, 1000) + np.linspace(30, 0, 1000)))
    assert not result.tau_is_trusted
    assert not result.mser_is_trusted.any()
    assert any("unreliable" in note for note in result.attrs["notes"])


def test_chains_apart_are_no_start(tree):
    x = normal(7, 4, 1000) + np.array([0, 0, 0, 3.0])[:, None]
    result = burn_in(tree(x=x))
    assert result.attrs["is_flagged"] == 0
    assert (result.rhat > 1.1).all()
    assert any("R-hat stays above" in note for note in result.attrs["notes"])


def test_burn_in_is_over_only_where_every_estimate_says_so(tree):
    """No tick next to chains that disagree, or to an estimate that is longer than the warmup."""
    x = normal(4, 4, 1000) + 20 * np.exp(-DRAW / 30)
    result = burn_in(with_warmup(x, 300))
    (over,) = findings(result, None)
    assert (over.code, over.severity) == ("burn_in_over", Severity.OK)
    longer = result.assign(recommended=322.0)
    apart = burn_in(tree(x=normal(7, 4, 1000) + np.array([0, 0, 0, 3.0])[:, None]))
    for table, words in ((longer, "is 322 steps"), (apart, "R-hat stays above its limit")):
        (found,) = findings(table, None)
        assert found.severity == Severity.NOTE
        assert words in WORDINGS[found.code](found).finding


def test_superchains_are_compared(tree):
    """Chains that share a start agree with each other while superchains still differ."""
    starts = np.repeat([-8.0, -3.0, 3.0, 8.0], 4)[:, None]
    dt = tree(x=normal(9, 16, 1000) + starts * np.exp(-DRAW / 80))
    assert np.isnan(burn_in(dt).rhat_nested).all()
    dt.attrs["superchain_ids"] = np.repeat(np.arange(4), 4).tolist()
    result = burn_in(dt)
    assert result.rhat_nested[0, 0] > 1.03
    assert result.rhat_nested[0, -1] < 1.01
    nested = result.num_dropped.sel(estimator="rhat_nested").item()
    assert 0 < nested < 500
    dt.attrs["superchain_ids"] = [0, 0, 0, 1] * 4
    assert any("equally many chains" in note for note in burn_in(dt).attrs["notes"])


def test_what_cannot_be_computed_is_said(tree):
    x = normal(10, 4, 200)
    broken = x.copy()
    broken[1, 3] = np.nan
    result = burn_in(tree(x=x, broken=broken, still=np.ones((4, 200))))
    assert result.reason.values.tolist() == ["", "draws that are not finite", "constant"]
    assert np.isnan(result.num_dropped[1:]).all()
    assert result.attrs["is_flagged"] == 0
    assert any("broken: draws that are not finite" in n for n in result.attrs["notes"])
    few = burn_in(tree(x=x[:, :20]))
    assert few.reason.values.tolist() == ["fewer than 50 draws per chain"]
    assert np.isnan(few.recommended)


def test_one_chain(tree):
    x = normal(11, 1, 500)
    assert burn_in(tree(x=x)).attrs["is_flagged"] == 0
    x[:, :100] += 10
    result = burn_in(tree(x=x))
    assert result.recommended == pytest.approx(100, abs=20)
    assert np.isnan(result.rhat).all()


def test_no_posterior():
    with pytest.raises(ValueError, match="no group 'posterior'"):
        burn_in(xr.DataTree())


def test_result_can_be_stored(tree, tmp_path):
    result = burn_in(tree(x=normal(12, 4, 100)))
    result.to_zarr(tmp_path / "x.zarr", zarr_format=2)
    again = xr.open_zarr(tmp_path / "x.zarr").load()
    xr.testing.assert_equal(result, again)
    assert again.attrs["notes"] == result.attrs["notes"]


def test_dropping():
    dt = with_warmup(normal(13, 4, 600) + 20 * np.exp(-np.arange(600) / 20), 20)
    dt.attrs["sampler"] = "mine"
    dt["observed_data"] = xr.Dataset({"y": ("draw", np.zeros(7))})
    kept = drop_burn_in(dt)
    num = kept.attrs["num_burn_in_dropped"]
    assert num == burn_in(dt).num_to_drop > 40
    assert kept.attrs["sampler"] == "mine"
    for group in ("posterior", "sample_stats"):
        assert kept[group].draw.values.tolist() == list(range(num, 580))
    assert kept["warmup_posterior"].sizes["draw"] == 20
    assert kept["observed_data"].sizes["draw"] == 7
    assert drop_burn_in(kept, 5).attrs["num_burn_in_dropped"] == num + 5
    assert dt["posterior"].sizes["draw"] == 580


@pytest.mark.parametrize("num_draws", [-1, 100])
def test_dropping_what_is_not_there(tree, num_draws):
    with pytest.raises(ValueError, match=r"leave some of the 100 draws.*got"):
        drop_burn_in(tree(x=np.zeros((2, 100))), num_draws)
