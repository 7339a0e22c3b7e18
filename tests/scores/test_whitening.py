"""Whitened coordinates: there and back in double precision, and the score that goes with them."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE
from numpyro_score.scores import (
    ScoreNetwork,
    StaticScore,
    WhitenedScore,
    Whitening,
    gaussian_score,
)

RNG = np.random.default_rng(0)
CENTER = np.array([2458000.123, -3.0, 1e-8])
ROOT = np.diag([5e-4, 100.0, 1e-10]) @ np.array([[1, 0, 0], [0.9, 0.5, 0], [-0.99, 0, 0.1]])
DRAWS = CENTER + RNG.normal(size=(2000, 3)) @ ROOT.T


@pytest.mark.parametrize("correlations", [True, False])
def test_there_and_back(correlations: bool) -> None:
    whitening = Whitening.from_draws(DRAWS, correlations)
    v = whitening.whiten(DRAWS)
    sds = v.std(axis=0)
    np.testing.assert_allclose(sds, np.exp(np.log(DRAWS.std(axis=0)).mean()), rtol=1e-3)
    np.testing.assert_allclose(np.linalg.cond(np.corrcoef(v.T)) < 1.1, correlations)
    error = np.abs(whitening.unwhiten(v) - DRAWS)
    # the spacing of float64 at the location
    assert (error <= 4 * np.spacing(np.abs(DRAWS)) + 1e-12 * DRAWS.std(axis=0)).all()


def test_correlations_need_enough_draws() -> None:
    assert Whitening.from_draws(DRAWS[:30]).is_full
    assert not Whitening.from_draws(DRAWS[:29]).is_full
    images = RNG.normal(size=(200, 2, 2))
    assert not Whitening.from_draws(images).is_full
    sds = Whitening.from_draws(images).whiten(images).std(axis=0)
    np.testing.assert_allclose(sds, sds[0, 0])
    with pytest.raises(ValueError, match="correlations are of vectors"):
        Whitening.from_draws(images, correlations=True)


def test_a_constant_coordinate_keeps_its_value() -> None:
    draws = np.column_stack([DRAWS[:, 1], np.full(len(DRAWS), 0.1)])
    whitening = Whitening.from_draws(draws)
    v = whitening.whiten(draws)
    assert np.abs(v[:, 1]).max() < 1e-3 * v[:, 0].std()
    noisy = v + np.random.default_rng(1).normal(size=v.shape)
    np.testing.assert_allclose(whitening.unwhiten(noisy)[:, 1], 0.1, rtol=1e-12)


@pytest.mark.parametrize("full", [True, False])
def test_score_is_that_of_the_distribution_in_x(full: bool, x64: None) -> None:
    """Of a Gaussian, at several noise levels; noise and denoised point are those of v and x."""
    factor = np.array([[2.0, 0.0], [1.0, 0.1]]) if full else np.array([2.0, 0.1])
    matrix = factor if full else np.diag(factor)
    center = np.array([5.0, -1.0])
    noise = VE(0.1, 10.0)
    standard = gaussian_score(jnp.zeros(2), jnp.ones(2), noise)
    model = WhitenedScore(standard, Whitening(center, factor))
    x = center + np.array([1.0, 0.3])
    for t in (0.0, 0.5, 1.0):
        covariance = (1 + float(noise.variance(t))) * matrix @ matrix.T
        expected = -np.linalg.solve(covariance, x - center)
        found = eqx.filter_jit(model)(jnp.asarray(x), t)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        v = np.linalg.solve(matrix, x - center)
        expected = center + matrix @ standard.denoise(jnp.asarray(v), t)
        np.testing.assert_allclose(model.denoise(jnp.asarray(x), t), expected, rtol=1e-6)
        np.testing.assert_allclose(
            model.predict_noise(jnp.asarray(x), t), standard.predict_noise(jnp.asarray(v), t)
        )


def test_float_types_that_cannot_hold_it_are_refused() -> None:
    whitening = Whitening.from_draws(DRAWS)
    model = WhitenedScore(gaussian_score(jnp.zeros(3), jnp.ones(3), VE(0.1, 10.0)), whitening)
    with pytest.raises(ValueError, match=r"float32 numbers are"):
        model(jnp.zeros(3, jnp.float32), 0.5)
    with pytest.raises(ValueError, match=r"mean 2458000.\d+ and sd 0.\d+, where float32"):
        Whitening.from_draws(DRAWS.astype(np.float32) + np.float32(0.25) * (DRAWS > CENTER))


OUTLIER = np.append(RNG.normal(size=(999, 2)), [[0.0, 1e8]], axis=0)


@pytest.mark.parametrize(
    "make",
    [Whitening.from_draws, lambda x: ScoreNetwork(len, VE(), x), lambda x: StaticScore(len, x)],
)
def test_outliers_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"of coordinate 1: point 999 is 1e\+08"):
        make(OUTLIER)


def test_heavy_tails_spikes_and_two_scales_are_no_outliers() -> None:
    rng = np.random.default_rng(1)
    cauchy = rng.standard_cauchy((2000, 1))
    spike = np.where(rng.uniform(size=(2000, 1)) < 0.005, 1e6, 0.0)
    scales = np.where(rng.uniform(size=(2000, 1)) < 0.1, 1.0, 1e-6) * rng.normal(size=(2000, 1))
    for draws in (cauchy, spike, scales):
        Whitening.from_draws(draws)


@pytest.mark.parametrize(
    ("center", "factor", "match"),
    [
        (np.zeros(2), np.ones(3), "of the center's shape"),
        (np.zeros((2, 2)), np.ones((2, 2, 2, 2)), "of the center's shape"),
        (np.zeros(2), np.array([1.0, 0.0]), "not above 0"),
        (np.zeros(2), np.zeros((2, 2)), "not above 0"),
    ],
)
def test_bad_input(center: Any, factor: Any, match: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=match):
        Whitening(center, factor)
