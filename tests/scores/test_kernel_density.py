from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import gaussian_kde

from numpyro_score.scores import KernelDensity, silverman_bandwidth
from numpyro_score.scores import kernel_density as kde_file


@pytest.fixture(scope="module")
def data() -> Any:
    return np.random.default_rng(0).normal(size=(700, 3)) * [1.0, 2.0, 0.5]


def test_density_is_that_of_scipy(data: Any, x64: None) -> None:
    """More points than one chunk holds, and not a multiple of it."""
    assert len(data) % kde_file.CHUNK != 0
    # scipy's factor multiplies the covariance of the data: whiten to have equal kernels
    whitener = np.linalg.cholesky(np.linalg.inv(np.cov(data.T)))
    white = data @ whitener
    theirs = gaussian_kde(white.T, bw_method=0.4)
    queries = white[:20] + 0.3
    ours = jax.jit(jax.vmap(KernelDensity(white, 0.4).logdensity))(jnp.asarray(queries))
    np.testing.assert_allclose(ours, theirs.logpdf(queries.T), rtol=1e-9)


def test_score_is_the_gradient(data: Any, x64: None) -> None:
    density = KernelDensity(data, 0.3)
    queries = jnp.asarray(data[:10]) + 1.0
    gradient = jax.jit(jax.vmap(jax.grad(density.logdensity)))(queries)
    np.testing.assert_allclose(jax.jit(jax.vmap(density))(queries), gradient, rtol=1e-8)


def test_far_from_all_data_the_score_points_back() -> None:
    density = KernelDensity(np.zeros((1, 2)), 0.1)
    far = jnp.array([100.0, 0.0])
    np.testing.assert_allclose(density(far), [-10_000.0, 0.0], rtol=1e-5)
    assert np.isfinite(density.logdensity(far))


def test_events_of_any_shape(data: Any) -> None:
    flat, shaped = KernelDensity(data, 0.3), KernelDensity(data.reshape(-1, 3, 1), 0.3)
    x = jnp.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(shaped(x[:, None])[:, 0], flat(x), rtol=1e-5)


def test_bandwidth_of_a_gaussian(data: Any) -> None:
    n, d = data.shape
    spread = np.sqrt(data.var(axis=0).mean())
    expected = spread * (4 / ((d + 2) * n)) ** (1 / (d + 4))
    assert silverman_bandwidth(data) == pytest.approx(expected)
    assert KernelDensity(data).bandwidth == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("points", "bandwidth", "match"),
    [
        (np.zeros((0, 2)), 1.0, "shape"),
        (np.array([[np.nan]]), 1.0, "not finite"),
        (np.ones((5, 2)), None, "all data points are equal"),
        (np.ones((5, 2)), -1.0, "must be above 0"),
    ],
)
def test_bad_input(points: Any, bandwidth: float | None, match: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=match):
        KernelDensity(points, bandwidth)
