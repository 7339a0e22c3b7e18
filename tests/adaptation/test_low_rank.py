"""The low-rank metric is taken where it holds on held-out draws, and the diagonal elsewhere."""

import warnings

import numpy as np
import pytest

from numpyro_score.adaptation.low_rank import fisher_low_rank

DIM = 120


def test_two_wide_directions_are_found() -> None:
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(DIM, 2)))[0]
    covariance = np.eye(DIM) + (directions * [99.0, 24.0]) @ directions.T
    draws = rng.multivariate_normal(np.zeros(DIM), covariance, 400).astype(np.float32)
    grads = (-draws @ np.linalg.inv(covariance)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fisher_low_rank(draws, grads, max_rank=4)
    assert fit.is_low_rank
    assert fit.divergence < fit.diagonal_divergence / 3
    sigma, vectors, values = fit.inverse_mass_matrix
    matrix = np.outer(sigma, sigma) * (np.eye(DIM) + (vectors * (values - 1)) @ vectors.T)
    spread = np.linalg.eigvals(np.linalg.solve(covariance, matrix)).real
    # the estimator leaves variances from 1/2 to 2; without directions they are from 1 to 100
    assert spread.max() < 6 * spread.min()


def test_directions_of_noise_are_not_taken() -> None:
    """Independent coordinates of heavy tails, fewer draws than dimensions."""
    rng = np.random.default_rng(1)
    draws = rng.standard_t(2.5, size=(40, DIM))
    grads = -3.5 * draws / (2.5 + draws**2)
    with pytest.warns(UserWarning, match="the diagonal is taken"):
        fit = fisher_low_rank(draws, grads, max_rank=20)
    assert not fit.is_low_rank
    expected = draws.std(axis=0) / grads.std(axis=0)
    np.testing.assert_allclose(fit.inverse_mass_matrix, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("draws", "grads", "message"),
    [
        (np.ones((20, 3)), np.ones((20, 2)), "give both"),
        (np.ones((5, 3)), np.ones((5, 3)), "ten draws"),
        (np.full((20, 3), np.nan), np.ones((20, 3)), "not finite"),
    ],
)
def test_what_cannot_be_used_is_refused(draws: object, grads: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fisher_low_rank(draws, grads)  # type: ignore[arg-type]
