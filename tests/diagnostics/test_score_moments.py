"""Score moments: exact draws pass, a wrong scale is found, errors allow for autocorrelation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from numpyro_score.diagnostics import assess
from numpyro_score.diagnostics.outcome import FALSE_ALARM
from numpyro_score.diagnostics.score_moments import SCORE_MOMENTS, score_moments
from numpyro_score.diagnostics.status import Status
from numpyro_score.kernels import ula
from numpyro_score.targets import gumbel, std_gaussian, two_modes

DIM = 5


def gaussian(x):
    return -x


def is_flagged(dt, **options):
    return bool(score_moments(dt, score_fn=gaussian, **options).attrs["is_flagged"])


def test_exact_draws_pass_at_the_rate_that_is_promised(tree):
    """Each run tests ten means; of 200 runs a share of FALSE_ALARM alarms."""
    rng = np.random.default_rng(0)
    num_runs = 200
    alarms = sum(is_flagged(tree(x=rng.normal(size=(4, 250, DIM)))) for _ in range(num_runs))
    assert alarms <= stats.binom.isf(1e-4, num_runs, FALSE_ALARM)


@pytest.mark.parametrize("coefficient", [0.5, 0.9])
def test_standard_errors_allow_for_autocorrelation(tree, ar1, coefficient):
    """z of correct chains is a standard Gaussian: its second moment, within 5 standard errors."""
    rng = np.random.default_rng(1)
    z, alarms = [], 0
    for _ in range(40):
        x = ar1(rng, coefficient, (DIM, 4, 1000)).transpose(1, 2, 0)
        result = score_moments(tree(x=x), score_fn=gaussian)
        z.append(result.z.values.ravel())
        alarms += result.attrs["is_flagged"]
    squares = np.square(z)
    assert abs(squares.mean() - 1) < 5 * np.sqrt(2 / squares.size)
    assert alarms <= 2


def test_a_variance_25_percent_too_large_is_found(tree):
    rng = np.random.default_rng(2)
    for _ in range(20):
        result = score_moments(
            tree(x=np.sqrt(1.25) * rng.normal(size=(4, 1000, 2))), score_fn=gaussian
        )
        assert result.attrs["is_flagged"]
        product = result.sel(identity="1 + x score")
        np.testing.assert_allclose(product["mean"], -0.25, atol=5 * product.mcse.max())
        assert (result.sel(identity="score").p_value > 1e-5).all()


def test_a_wrong_location_is_found(tree):
    x = 0.2 + np.random.default_rng(3).normal(size=(4, 1000))
    result = score_moments(tree(x=x), score_fn=gaussian)
    assert result.attrs["is_flagged"]
    assert result.z.sel(identity="score").item() < -5
    assert abs(result.z.sel(identity="1 + x score").item()) < 4


def test_the_bias_of_ula_is_found(tree):
    """Steps of .4 on a Gaussian: the variance of the chain is 1 / (1 - .4 / 2) = 1.25."""
    target = std_gaussian(2)
    algorithm = ula(target.logdensity_fn, step_size=0.4)

    def chain(key):
        def step(state, key):
            state, _ = algorithm.step(key, state)
            return state, state.position

        keys = jax.random.split(key, 1100)
        return jax.lax.scan(step, algorithm.init(jnp.zeros(2)), keys)[1][100:]

    x = np.asarray(jax.vmap(chain)(jax.random.split(jax.random.key(0), 4)), float)
    dt = tree(x=x)
    assert score_moments(dt, target=target).attrs["is_flagged"]
    found = assess(dt, target, with_discrepancy=False)
    assert found.status is Status.BIASED
    assert any("do not have the score moments" in one.finding for one in found.remarks())


@pytest.mark.parametrize("target", [gumbel(), two_modes()])
def test_exact_draws_of_other_targets_pass(tree, target):
    x = np.asarray(target.sample(jax.random.key(4), 4000)["x"], float).reshape(4, 1000, -1)
    result = score_moments(tree(x=x), target=target)
    assert not result.attrs["is_flagged"]
    assert result.coordinate.values.tolist() == ["x[0]", "x[1]"]


def test_weights_of_modes_are_not_seen_and_that_is_said(tree):
    """Draws of one of two modes alone pass: the report says that it does not test this."""
    x = 5 + np.random.default_rng(5).normal(size=(4, 1000, 2))
    result = score_moments(tree(x=x), target=two_modes())
    assert not result.attrs["is_flagged"]
    assert any("do not see the weights of modes" in note for note in result.attrs["notes"])
    (found,) = SCORE_MOMENTS.findings(result, None)
    assert "Mode weights are not tested" in SCORE_MOMENTS.wordings[found.code](found).finding


def test_gradients_in_the_tree_are_used(tree):
    x = np.sqrt(1.25) * np.random.default_rng(6).normal(size=(4, 1000, 2))
    dt = tree(x=x)
    assert "score_moments" not in assess(dt).results
    dims = ("chain", "draw", "unconstrained_parameter")
    data = {"unconstrained_draw": (dims, x), "gradient": (dims, -x)}
    names = {"unconstrained_parameter": ["a", "b"]}
    dt["sample_stats"] = xr.DataTree(xr.Dataset(data, coords=names))
    result = assess(dt).results["score_moments"]
    assert result.coordinate.values.tolist() == ["a", "b"]
    assert result.attrs["is_flagged"]


def test_a_log_density_is_enough(tree):
    x = np.random.default_rng(7).normal(size=(4, 500, 2))
    found = assess(
        tree(x=x, other=x[..., 0]),
        logdensity_fn=lambda x: -0.5 * jnp.sum(x**2),
        with_discrepancy=False,
        variables=["x"],
    )
    assert found.findings["score_moments"][0].code == "score_moments_ok"
    assert found.status is Status.CONVERGED


def test_chains_that_disagree_confirm_nothing(tree):
    x = np.random.default_rng(8).normal(size=(4, 500)) + 3 * np.array([[-1], [1], [-1], [1]])
    found = assess(tree(x=x), logdensity_fn=lambda x: -jnp.sum(x**2) / 20, with_discrepancy=False)
    assert [one.code for one in found.findings["score_moments"]] == ["score_moments_untested"]


def test_bad_input_is_an_error(tree):
    with pytest.raises(ValueError, match="there are no scores"):
        score_moments(tree(x=np.zeros((4, 100))))
    with pytest.raises(ValueError, match="need 4 draws per chain"):
        score_moments(tree(x=np.zeros((4, 3))), score_fn=gaussian)
    with pytest.raises(ValueError, match="score is not finite"):
        score_moments(tree(x=np.ones((4, 9))), score_fn=lambda x: x / 0)
    with pytest.raises(ValueError, match="give one of target, logdensity_fn"):
        assess(tree(x=np.ones((4, 9))), std_gaussian(1), logdensity_fn=lambda x: -x)
