"""Estimates of the preconditioner: right on a Gaussian from few draws, finite from fewer."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.adaptation.metric import covariance_metric, fisher_metric
from numpyro_score.adaptation.moments import Moments, empty, update
from numpyro_score.preconditioner import Preconditioner


def gaussian(dim: int, condition: float, *, is_rotated: bool) -> Any:
    variance = np.geomspace(condition**-0.5, condition**0.5, dim)
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0] if is_rotated else np.eye(dim)
    return (turn * variance) @ turn.T


def both_moments(cov: Any, n: int, *, is_dense: bool, dtype: Any) -> tuple[Moments, Moments]:
    """Of draws of `N(0, cov)`, and of the gradients `-cov^-1 x` there."""
    x = np.random.default_rng(1).multivariate_normal(np.zeros(len(cov)), cov, size=n)
    pair = (x, -np.linalg.solve(cov, x.T).T)
    start = empty(len(cov), jnp.dtype(dtype), is_dense=is_dense)
    first, second = (
        update(start, jnp.asarray(values, dtype), jnp.ones(n, dtype)) for values in pair
    )
    return first, second


def spread(preconditioner: Preconditioner, cov: Any) -> tuple[float, float]:
    """Condition number and mean variance of the target in coordinates whitened by `P`."""
    p = np.asarray(preconditioner.inverse_mass_matrix, float)
    p = np.diag(p) if p.ndim == 1 else p
    values = np.linalg.eigvals(np.linalg.solve(p, cov)).real
    return values.max() / values.min(), values.mean()


def check_root(preconditioner: Preconditioner, rtol: float) -> None:
    p, factor = (np.asarray(x, float) for x in preconditioner)
    if p.ndim == 1:
        np.testing.assert_allclose(factor**2, p, rtol=rtol)
    else:
        sd = np.sqrt(np.diag(p))
        np.testing.assert_allclose(
            factor @ factor.T / np.outer(sd, sd), p / np.outer(sd, sd), atol=rtol
        )


@pytest.mark.parametrize(
    ("condition", "dtype", "is_dense", "left"),
    [
        (1e8, "float64", False, 1.05),
        (1e3, "float32", False, 1.05),
        (1e4, "float64", True, 1.1),
        (1e3, "float32", True, 1.1),
        (1e8, "float64", True, 200.0),  # correlations this near to 1 are lost to the shrinkage
    ],
)
def test_fisher_is_exact_on_a_gaussian(
    condition: float, dtype: str, is_dense: bool, left: float
) -> None:
    """From half as many draws again as dimensions; `left` is the condition number it leaves."""
    dim = 20
    cov = gaussian(dim, condition, is_rotated=is_dense)
    with jax.enable_x64(dtype == "float64"):
        found = fisher_metric(*both_moments(cov, dim + 10, is_dense=is_dense, dtype=dtype))
    assert found.inverse_mass_matrix.dtype == dtype
    ratio, mean = spread(found, cov)
    assert ratio < left
    assert left > 2 or abs(mean - 1) < 0.05
    check_root(found, 1e-3 if dtype == "float32" else 1e-8)


def test_covariance_needs_many_more_draws() -> None:
    """What Fisher is for: at as many draws, and still at ten times as many."""
    dim = 20
    cov = gaussian(dim, 1e4, is_rotated=True)
    with jax.enable_x64(True):
        few, many = (both_moments(cov, n, is_dense=True, dtype="float64") for n in (30, 20_000))
        assert spread(fisher_metric(*few), cov)[0] < 1.1
        assert spread(covariance_metric(*few), cov)[0] > 10
        assert spread(covariance_metric(*many), cov)[0] < 1.5
        check_root(covariance_metric(*few), 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("estimate", [fisher_metric, covariance_metric])
@pytest.mark.parametrize("n", [3, 5, 19])
def test_fewer_draws_than_dimensions(estimate: Any, n: int, dtype: str) -> None:
    dim = 20
    cov = gaussian(dim, 100.0, is_rotated=True)
    with jax.enable_x64(dtype == "float64"):
        found = estimate(*both_moments(cov, n, is_dense=True, dtype=dtype))
    matrix = np.asarray(found.inverse_mass_matrix, float)
    assert np.isfinite(matrix).all()
    assert np.isfinite(np.asarray(found.factor)).all()
    assert np.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.parametrize("is_dense", [False, True])
def test_units_of_the_coordinates_do_not_matter(is_dense: bool) -> None:
    """Equivariant: `P` of `s x` is `s P s`, from 1e-6 to 1e6 in float32."""
    dim = 5
    cov = gaussian(dim, 10.0, is_rotated=True)
    unit = np.geomspace(1e-6, 1e6, dim)
    plain = fisher_metric(*both_moments(cov, 50, is_dense=is_dense, dtype="float32"))
    scaled_cov = cov * np.outer(unit, unit)
    x = np.random.default_rng(1).multivariate_normal(np.zeros(dim), cov, size=50)
    pair = (x * unit, -np.linalg.solve(cov, x.T).T / unit)
    start = empty(dim, jnp.dtype("float32"), is_dense=is_dense)
    moments = [update(start, jnp.asarray(v, "float32"), jnp.ones(50)) for v in pair]
    scaled = fisher_metric(*moments)
    p = np.asarray(plain.inverse_mass_matrix, float)
    outer = unit**2 if p.ndim == 1 else np.outer(unit, unit)
    sd = np.diag(scaled_cov) if p.ndim == 1 else np.sqrt(np.outer(*[np.diag(scaled_cov)] * 2))
    np.testing.assert_allclose(
        np.asarray(scaled.inverse_mass_matrix, float) / sd, p * outer / sd, atol=2e-3
    )
