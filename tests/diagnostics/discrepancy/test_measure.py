from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

from numpyro_score.diagnostics import discrepancy
from numpyro_score.diagnostics.discrepancy import MEASURES
from numpyro_score.diagnostics.discrepancy.perturbation import DensityModes, perturb
from numpyro_score.diagnostics.discrepancy.rows import BLINDNESS
from numpyro_score.targets import ModelTarget, eight_schools, std_gaussian, two_modes

MIXTURE = two_modes()
GAUSSIAN = std_gaussian(2)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def two_mode_draws(seed, share):
    """4 x 1000 draws of two modes, the larger of which is to have a share of .8."""
    rng = np.random.default_rng(seed)
    centre = np.where(rng.random((4, 1000, 1)) < share, 5.0, -5.0)
    return centre + rng.normal(size=(4, 1000, 2))


@pytest.fixture(scope="module")
def results(tree):
    return {
        share: discrepancy(tree(x=two_mode_draws(0, share)), target=MIXTURE)
        for share in (0.8, 0.5, 1.0)
    }


def test_exact_draws_are_quiet(results):
    result = results[0.8]
    assert result.attrs["findings"] == []
    assert result.attrs["num_modes"] == 2
    assert result.attrs["num_reference"] == 8000
    assert list(result.measure.values) == list(MEASURES)
    assert (result.reason == "").all()
    assert not result.is_flagged.any()
    assert np.nanmin(result.p_value) > 1e-3


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_wrong_weights_of_modes_are_seen_by_all_but_the_score_alone(results, share):
    result = results[share]
    flags = dict(zip(result.measure.values, result.is_flagged.values, strict=True))
    assert not flags["ksd"]
    assert not flags["ksd_moments"]
    assert flags["ksd_perturbed"]
    assert flags["mmd"]
    assert flags["c2st"]
    assert "weights of the density's modes are wrong" in result.attrs["findings"][0]
    assert "do not agree with the reference" in result.attrs["findings"][1]


def test_blindness_is_in_the_result(results):
    result = results[1.0]
    assert result.attrs["blindness"] == result.attrs["notes"][0] == BLINDNESS
    assert "does not detect wrong weights of modes" in result.meaning.sel(measure="ksd").item()


def test_the_kernel_of_the_perturbation_leaves_exact_draws_exact():
    x = np.asarray(MIXTURE.sample(jax.random.key(0), 4000)["x"])
    modes = DensityModes(jnp.array([[5.0, 5.0], [-5.0, -5.0]]), jnp.stack([jnp.eye(2)] * 2))
    moved = np.asarray(perturb(jax.random.key(1), jnp.asarray(x), MIXTURE.logdensity_fn, modes))
    share = (moved[:, 0] > 0).mean()
    assert abs(share - 0.8) < 5 * np.sqrt(0.16 / 4000)
    assert 0.01 < (moved != x).any(axis=1).mean() < 0.9
    within = moved - np.where(moved[:, :1] > 0, 5.0, -5.0)
    assert np.abs(within.mean(axis=0)).max() < 5 / np.sqrt(4000)
    assert np.abs(within.var(axis=0) - 1).max() < 5 * np.sqrt(2 / 4000)


def test_constrained_draws_are_unconstrained(tree):
    """Draws of a positive site are judged on the scale that its density is written in."""

    def model():
        numpyro.sample("scale", dist.LogNormal(0.5, 0.3))

    target = ModelTarget("log_normal", "log normal", model)
    x = np.exp(0.5 + 0.3 * normal(1, 4, 250))
    assert discrepancy(tree(scale=x), target=target).attrs["findings"] == []
    wrong = discrepancy(tree(scale=x**1.3), target=target)
    assert wrong.attrs["is_flagged"] == 1
    assert "no exact draws" in wrong.reason.sel(measure="mmd").item()


def test_a_reference_run_is_thinned(tree, ar1):
    x = normal(2, 4, 250, 2)
    run = ar1(np.random.default_rng(3), 0.5, (2, 4, 1000)).transpose(1, 2, 0)
    result = discrepancy(tree(x=x), reference=tree(x=run))
    assert 600 < result.attrs["num_reference"] < 1500
    assert result.attrs["findings"] == []
    assert "it takes a score" in result.reason.sel(measure="ksd").item()
    assert "blindness" in result.attrs


def test_variables_and_their_order(tree):
    """A density of two variables that differ, in the order that it takes them."""

    def logdensity_fn(x):
        return -0.5 * (x[0] ** 2 + (x[1] / 10) ** 2)

    dt = tree(wide=10 * normal(4, 4, 250), narrow=normal(5, 4, 250), other=normal(6, 4, 250, 3))
    fine = discrepancy(dt, logdensity_fn=logdensity_fn, variables=["narrow", "wide"])
    assert fine.attrs["findings"] == []
    swapped = discrepancy(dt, logdensity_fn=logdensity_fn, variables=["wide", "narrow"])
    assert swapped.attrs["is_flagged"] == 1


def test_long_runs_are_thinned(tree):
    dt = tree(x=normal(7, 4, 1000, 2))
    result = discrepancy(dt, score_fn=lambda x: -x, max_draws=800)
    assert result.attrs["num_draws"] == 800
    assert result.num_draws.sel(measure="ksd") == 800


def test_few_stretches_are_said(tree):
    result = discrepancy(tree(x=normal(8, 2, 2000, 1).cumsum(axis=1)), score_fn=lambda x: -x)
    assert any("too autocorrelated" in note for note in result.attrs["notes"])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((4, 100, 2), np.nan), "not finite"),
        (np.ones((4, 100, 2)), "constant"),
        (normal(9, 2, 5, 2), "fewer than 20 draws"),
    ],
)
def test_what_cannot_be_computed_is_said(tree, values, reason):
    result = discrepancy(tree(x=values), target=GAUSSIAN)
    assert reason in result.reason.sel(measure="ksd").item()
    assert np.isnan(result.value.sel(measure=["ksd", "ksd_moments", "ksd_perturbed"])).all()
    assert any(reason in note for note in result.attrs["notes"])
    assert result.attrs["is_flagged"] == int(reason == "constant")


def test_one_chain(tree):
    result = discrepancy(tree(x=normal(10, 1, 400, 2)), target=GAUSSIAN)
    assert result.attrs["findings"] == []
    assert np.isfinite(result.value.sel(measure="c2st"))


def test_result_can_be_stored(results, tmp_path):
    results[0.8].to_zarr(tmp_path / "x.zarr", zarr_format=2)
    again = xr.open_zarr(tmp_path / "x.zarr").load()
    xr.testing.assert_equal(results[0.8], again)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "there is nothing to compare the draws with"),
    ({"target": GAUSSIAN, "logdensity_fn": jnp.sum}, ValueError, "give one of"),
    ({"score_fn": 3}, TypeError, "score_fn must be a function"),
    ({"score_fn": jnp.sum}, ValueError, "has to be the gradient"),
    ({"score_fn": lambda x: x / 0}, ValueError, "the score is not finite at 400 of 400"),
    ({"logdensity_fn": lambda x: x}, ValueError, "must be one number"),
    ({"logdensity_fn": lambda x: x @ jnp.ones(5)}, ValueError, "name the variables"),
    ({"target": eight_schools()}, ValueError, "the posterior lacks"),
    ({"reference": {"y": np.zeros(9)}}, ValueError, "has to be in both"),
    ({"reference": {"x": np.zeros((9, 3))}}, ValueError, "has shape"),
    ({"reference": {"x": np.full((9, 2), np.nan)}}, ValueError, "not finite"),
    ({"reference": {"x": np.array(3.0)}}, ValueError, "must be numbers of shape"),
    ({"reference": {}}, ValueError, "equally many draws"),
    ({"target": GAUSSIAN, "variables": ["z"]}, ValueError, "has to be in both"),
    ({"score_fn": jnp.sin, "variables": ["z"]}, ValueError, "the posterior lacks z"),
    ({"target": GAUSSIAN, "max_draws": 3}, ValueError, "at least 20"),
]


@pytest.mark.parametrize(("options", "error", "match"), BAD)
def test_what_does_not_fit_is_refused(unchecked, tree, options, error, match):
    with pytest.raises(error, match=match):
        discrepancy(tree(x=normal(11, 4, 100, 2)), **options)


def test_no_posterior():
    with pytest.raises(ValueError, match="no group 'posterior'"):
        discrepancy(xr.DataTree(), target=GAUSSIAN)
