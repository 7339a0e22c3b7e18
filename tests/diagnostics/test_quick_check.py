"""The check at the end of every run: quiet where all is well, and one warning where it is not."""

import warnings

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.infer import MCMC, NUTS

from numpyro_score.diagnostics import (
    ConvergenceWarning,
    assess,
    quick_check,
    warn_if_not_converged,
)
from numpyro_score.diagnostics.quick_check import PACKAGE, warning_text


def codes(dt):
    return [finding.code for finding in quick_check(dt)]


def with_statistics(dt, **statistics):
    dims = ("chain", "draw")
    data = {name: (dims, values) for name, values in statistics.items()}
    dt["sample_stats"] = xr.DataTree(xr.Dataset(data))
    return dt


@pytest.mark.parametrize(
    ("coefficient", "shape"),
    [(0.0, (4, 100)), (0.5, (4, 100)), (0.8, (4, 1000)), (0.8, (32, 250)), (0.8, (1, 1000))],
)
def test_well_mixed_chains_are_quiet(tree, ar1, coefficient, shape):
    """At most 1 alarm in 200 runs: of 40 runs of ten parameters, none."""
    rng = np.random.default_rng(0)
    for _ in range(40 if shape[1] == 100 else 10):
        x = ar1(rng, coefficient, (10, *shape)).transpose(1, 2, 0)
        assert codes(tree(x=x)) == []


@pytest.mark.slow
def test_well_mixed_chains_are_quiet_in_200_runs(tree, ar1):
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(200):
        x = ar1(rng, 0.8, (10, 4, 500)).transpose(1, 2, 0)
        alarms += bool(quick_check(tree(x=x)))
    assert alarms <= 1


@pytest.mark.slow
@pytest.mark.parametrize("coefficient", [0.0, 0.8])
def test_a_single_well_mixed_chain_is_quiet_in_200_runs(tree, ar1, coefficient):
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(200):
        x = ar1(rng, coefficient, (10, 1, 1000)).transpose(1, 2, 0)
        alarms += bool(quick_check(tree(x=x)))
    assert alarms <= 1


def test_the_halves_of_a_single_chain(tree, ar1):
    x = ar1(np.random.default_rng(4), 0.5, (3, 1, 400)).transpose(1, 2, 0)
    x[0, :200, 1] += 2
    (found,) = quick_check(tree(x=x))
    assert (found.code, found.parameters) == ("halves", ("x[1]",))
    assert "The two halves of the chain disagree on x[1]" in warning_text([found])
    assert "several chains" in warning_text([found])


def test_chains_apart_and_where(tree):
    x = np.random.default_rng(2).normal(size=(4, 500, 3))
    x[3, :, 1] += 2
    (found,) = quick_check(tree(fine=x[..., 0], x=x))
    assert found.code == "rhat"
    assert found.parameters == ("x[1]",)
    assert found.value > 1.2


def test_chains_of_another_spread(tree):
    x = np.random.default_rng(3).normal(size=(4, 500))
    x[2] *= 10
    assert codes(tree(x=x)) == ["rhat"]


def test_slow_chains(tree):
    x = np.cumsum(np.random.default_rng(4).normal(size=(4, 400)), axis=1)
    assert codes(tree(x=x)) == ["rhat"]


def test_a_drift_that_many_chains_have_in_common(tree, ar1):
    """R-hat is 1.002, and the mean of all chains is 8 of its standard errors off."""
    rng = np.random.default_rng(13)
    x = rng.normal(size=(64, 1000, 3))
    x[..., 1] += 2 * np.exp(-np.arange(1000) / 30)
    (found,) = quick_check(tree(x=x))
    assert (found.code, found.parameters) == ("early_draws", ("x[1]",))
    text = warning_text([found])
    assert "first tenth" in text
    assert "Warm up longer" in text
    # the same after the drift
    assert codes(tree(x=x[:, 300:])) == []
    independent = tree(x=x)
    independent.attrs["independent_draws"] = 1
    assert codes(independent) == []


def test_chains_without_a_drift_are_not_said_to_have_one(tree, ar1):
    """Few and many chains, slow and fast ones: at most 1 alarm in 200 runs, of 60 runs none."""
    rng = np.random.default_rng(14)
    for shape in ((8, 1000), (64, 300)):
        for coefficient in (0.0, 0.8):
            for _ in range(15):
                x = ar1(rng, coefficient, (10, *shape)).transpose(1, 2, 0)
                assert codes(tree(x=x)) == []


def test_the_worst_of_many_parameters_is_found(tree):
    x = np.random.default_rng(5).normal(size=(4, 100, 1_000))
    x[0, :, 777] += 3
    (found,) = quick_check(tree(x=x))
    assert found.parameters == ("x[777]",)


def test_frozen_chains_by_number(tree):
    x = np.random.default_rng(6).normal(size=(8, 200, 2))
    x[[2, 5]] = x[[2, 5], :1]
    found = quick_check(tree(x=x))[0]
    assert (found.code, found.parameters) == ("frozen", ("2", "5"))
    assert "2 of 8 chains never moved: chains 2 and 5." in warning_text([found])


def test_all_chains_at_one_value_while_moves_are_rejected(tree):
    """Data of sd .001 at 1e6 in float32: no chain moves, at an acceptance rate of .58."""
    x = np.full((4, 100), 1234567.0, np.float32)
    found = quick_check(with_statistics(tree(x=x), acceptance_rate=np.full((4, 100), 0.58)))
    assert found[0].code == "all_frozen"
    assert "precision" in [one.code for one in found]


def test_nothing_that_could_move_is_no_failure(tree):
    one = with_statistics(tree(x=np.ones((4, 100))), acceptance_rate=np.ones((4, 100)))
    assert codes(one) == []
    one = with_statistics(tree(x=np.ones((4, 100))), acceptance_rate=np.zeros((4, 100)))
    assert codes(one) == ["all_frozen"]


def test_a_constant_up_to_rounding_is_no_parameter(tree):
    rng = np.random.default_rng(12)
    q = np.linalg.qr(rng.normal(size=(4, 200, 3, 3)))[0]
    ones = np.einsum("cdij,cdij->cdi", q, q)
    ones[3] += np.finfo(float).eps
    assert codes(tree(x=rng.normal(size=(4, 200)), ones=ones)) == []


def test_divergences_and_values_that_are_not_finite(tree):
    x = np.random.default_rng(7).normal(size=(4, 200))
    diverging = np.zeros((4, 200), bool)
    diverging[1, :30] = True
    assert codes(with_statistics(tree(x=x), diverging=diverging)) == ["divergent"]
    x[0, 3] = np.nan
    assert codes(tree(x=x))[0] == "nonfinite"


def test_float32_is_named_where_it_is_the_likely_cause(tree):
    x = np.random.default_rng(8).normal(size=(4, 200))
    x[3] += 5
    lp = np.full((4, 200), -3e6)
    single = with_statistics(tree(x=x.astype(np.float32)), lp=lp)
    assert codes(single) == ["rhat", "precision"]
    assert "try" in warning_text(quick_check(single)).lower()
    assert "enable_x64" in warning_text(quick_check(single))
    assert codes(with_statistics(tree(x=x), lp=lp)) == ["rhat"]
    # the full diagnostics say so too
    found = assess(single).findings["mixing"]
    assert any(finding.code == "precision" for finding in found)
    # of a run in which all is well nothing is said
    fine = with_statistics(tree(x=x[:3].astype(np.float32)), lp=lp[:3])
    assert codes(fine) == []
    diverging = np.ones((3, 200), bool)
    failed = with_statistics(tree(x=x[:3].astype(np.float32)), diverging=diverging)
    assert codes(failed) == ["divergent", "precision"]


def test_one_warning_of_three_lines_at_most(tree):
    x = np.random.default_rng(9).normal(size=(4, 200, 50))
    x[1] = x[1, :1]
    x[3] += 4
    dt = with_statistics(tree(x=x), diverging=np.ones((4, 200), bool))
    with pytest.warns(ConvergenceWarning) as caught:
        warn_if_not_converged(dt)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert len(text) < 450
    for words in ("chain 1", "R-hat", "800 of 800", "assess(dt)"):
        assert words in text
    assert not caught[0].filename.startswith(PACKAGE)


def test_no_warning_where_all_is_well(tree):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warn_if_not_converged(tree(x=np.random.default_rng(10).normal(size=(4, 300)))) == []


def test_independent_draws_have_no_chains_that_disagree(tree):
    x = np.random.default_rng(11).normal(size=(4, 300))
    x[3] += 5
    dt = tree(x=x)
    dt.attrs["independent_draws"] = 1
    assert codes(dt) == []


def test_a_fitted_mcmc_is_assessed():
    def model():
        numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]))

    mcmc = MCMC(
        NUTS(model),
        num_warmup=100,
        num_samples=200,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    with pytest.raises(ValueError, match="has not run"):
        assess(mcmc)
    mcmc.run(jax.random.key(0), extra_fields=("diverging", "accept_prob", "potential_energy"))
    found = assess(mcmc)
    assert found.mixing.parameter.values.tolist() == ["x[0]", "x[1]"]
    assert found.verdict.num_divergent == 0
    assert np.isfinite(found.mixing.acceptance).all()
    assert found.verdict.is_exact is None


@pytest.mark.parametrize(
    ("rate", "target", "is_missed"),
    [(0.05, 0.574, True), (0.55, 0.574, False), (0.7, 0.574, False), (0.95, 0.574, True)],
)
def test_an_acceptance_far_from_its_target_is_told(tree, rate, target, is_missed):
    x = np.random.default_rng(5).normal(size=(4, 500))
    dt = with_statistics(tree(x=x), acceptance_rate=np.full((4, 500), rate))
    assert codes(dt) == []
    dt.attrs["target_accept_prob"] = target
    assert codes(dt) == ["acceptance_missed"] * is_missed


def test_jumps_have_no_target(tree):
    """Every second step a jump that is accepted at .95, the others as wanted."""
    x = np.random.default_rng(5).normal(size=(4, 500))
    rates = np.where(np.arange(500) % 2, 0.57, 0.95) * np.ones((4, 1))
    dt = with_statistics(
        tree(x=x), acceptance_rate=rates, local_accept_prob=np.full((4, 500), 0.57)
    )
    dt.attrs["target_accept_prob"] = 0.55
    assert codes(dt) == []
    dt.sample_stats["local_accept_prob"][:] = 0.9
    assert codes(dt) == ["acceptance_missed"]


def test_chains_in_two_regions_are_told_from_chains_in_many(tree):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(8, 500))
    x[2:5] += 10
    found = quick_check(tree(x=x))
    assert [one.code for one in found] == ["rhat", "apart"]
    assert found[1].value == 3
    text = warning_text(found)
    assert "3 of 8 chains stay in a region of their own" in text
    assert "GlobalLocal" in text
    # chains that all are elsewhere have not mixed, and name no mode
    everywhere = rng.normal(size=(8, 500)) + 10 * np.arange(8)[:, None]
    assert codes(tree(x=everywhere)) == ["rhat"]
