from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.infer import MCMC, NUTS

from numpyro_score.training.data import as_points

RNG = np.random.default_rng(0)
MU, THETA = RNG.normal(size=(4, 25)), RNG.normal(size=(4, 25, 3))
JOINED = np.concatenate([MU.reshape(100, 1), THETA.reshape(100, 3)], axis=1).astype(np.float32)


def model() -> None:
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.deterministic("twice", 2 * mu)
    with numpyro.plate("group", 2):
        numpyro.sample("theta", dist.Normal(mu, scale))


@pytest.fixture(scope="module")
def mcmc() -> MCMC:
    fitted = MCMC(NUTS(model), num_warmup=20, num_samples=30, progress_bar=False)
    fitted.run(jax.random.key(0))
    return fitted


def test_arrays_are_taken_as_they_are() -> None:
    for array in (JOINED, jnp.asarray(JOINED), JOINED.reshape(100, 2, 2), JOINED[:, 0]):
        points = as_points(array)
        np.testing.assert_array_equal(points.arrays, array)
        assert points.num == 100
        assert points.variables == ()


def test_whole_numbers_become_real() -> None:
    assert as_points(np.arange(6).reshape(3, 2)).arrays.dtype == np.float32


def test_precision_is_kept_where_jax_keeps_it(x64: None) -> None:
    assert as_points(JOINED).arrays.dtype == np.float32
    assert as_points(JOINED.astype(np.float64)).arrays.dtype == np.float64


@pytest.mark.parametrize("kind", ["tree", "dataset", "dict"])
def test_variables_are_joined_in_their_order(kind: str) -> None:
    tree = az.from_dict({"posterior": {"mu": MU, "theta": THETA}})
    draws: dict[str, Any] = {
        "tree": tree,
        "dataset": tree["posterior"].to_dataset(),
        "dict": {"mu": MU.reshape(100), "theta": THETA.reshape(100, 3)},
    }
    points = as_points(draws[kind])
    np.testing.assert_array_equal(points.arrays, JOINED)
    assert points.variables == ("mu", "theta (3,)")


def test_dimensions_in_another_order() -> None:
    data = xr.Dataset({"theta": (("part", "draw", "chain"), THETA.transpose(2, 1, 0))})
    np.testing.assert_array_equal(as_points(data).arrays, JOINED[:, 1:])


def test_a_single_variable_keeps_its_shape() -> None:
    assert as_points({"image": np.zeros((10, 4, 4))}).arrays.shape == (10, 4, 4)
    assert as_points({"mu": np.zeros(10)}).arrays.shape == (10, 1)


def test_mcmc_without_what_follows_from_the_rest(mcmc: MCMC) -> None:
    points = as_points(mcmc)
    samples = mcmc.get_samples()
    assert set(points.variables) == {"mu", "scale", "theta (2,)"}
    assert "twice" in samples
    columns = [points.variables.index(name) for name in ("mu", "scale")]
    np.testing.assert_array_equal(points.arrays[:, columns[0]], samples["mu"])
    assert (points.arrays[:, columns[1]] > 0).all()


def test_mcmc_of_a_potential() -> None:
    kernel = NUTS(potential_fn=lambda x: jnp.sum(x**2) / 2)
    fitted = MCMC(kernel, num_warmup=10, num_samples=15, progress_bar=False)
    fitted.run(jax.random.key(0), init_params=jnp.zeros(3))
    np.testing.assert_array_equal(as_points(fitted).arrays, fitted.get_samples())


PADDED = np.where(np.arange(25) < [[25], [25], [10], [25]], MU, np.nan)


def test_unequal_chains_say_what_they_are() -> None:
    tree = az.from_dict({"posterior": {"mu": PADDED, "theta": THETA + 0 * PADDED[..., None]}})
    with pytest.raises(ValueError, match=r"unequal lengths.*chain 2 ends after 10 of 25 draws"):
        as_points(tree)
    as_points(tree.isel(draw=slice(10)))
    # NaN elsewhere, or in one variable only, is no matter of length
    for bad in ({"mu": PADDED, "theta": THETA}, {"mu": PADDED[:, ::-1]}):
        with pytest.raises(ValueError, match=r"15 of 100 points of draws of mu are not finite"):
            as_points(az.from_dict({"posterior": bad}))


def test_precision_that_float32_does_not_hold() -> None:
    dates = 2458000.123 + 5e-4 * MU
    with pytest.raises(ValueError, match=r"draws of t0: .*float32 numbers are 0.2\d+ apart"):
        as_points({"t0": dates})
    np.testing.assert_array_equal(
        as_points({"t0": dates}, np.float64).arrays.ravel(), dates.ravel()
    )
    assert as_points({"t0": 2458000.123 + 50 * MU}).arrays.dtype == np.float32


def test_pairs() -> None:
    points = as_points((JOINED, MU.reshape(100, 1)))
    assert points.num == 100
    x, y = points.arrays
    assert x.shape == (100, 4)
    assert y.shape == (100, 1)


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        ({"mu": MU, "theta": THETA[:2]}, ValueError, "different numbers of draws"),
        ({"mu": MU, "n": np.zeros(4, int)}, ValueError, "variables n hold no real numbers"),
        ((JOINED, MU), ValueError, "100 points but"),
        ((JOINED, JOINED, JOINED), TypeError, "3 parts"),
        (xr.DataTree(), ValueError, "no group 'posterior'"),
        (xr.Dataset({"x": ("draw", MU[0])}), ValueError, "no dimension chain"),
        (MCMC(NUTS(model), num_warmup=1, num_samples=1), ValueError, "has not run"),
        (np.array(3.0), ValueError, "no point"),
        (np.array([1j]), ValueError, "real numbers"),
        ({"mu": np.array([1e300])}, ValueError, "not finite"),
        (None, TypeError, "data are a NoneType"),
    ],
)
def test_bad_data(data: Any, error: type[Exception], match: str, unchecked: None) -> None:
    with pytest.raises(error, match=match):
        as_points(data)
