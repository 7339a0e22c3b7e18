"""Target score matching: no variance on a Gaussian, less than denoising's on a mixture."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP, NoiseProcess
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import (
    ContinuousDenoising,
    TargetScoreMatching,
    within_mode_covariance,
)

KEY = jax.random.key(0)
NUM = 4000
PROCESSES: dict[str, NoiseProcess] = {"exploding": VE(0.02, 20.0), "preserving": VP()}


@pytest.fixture
def gaussian(x64: None) -> Any:
    """A covariance of condition number 100 with correlations, draws and gradients."""
    root = np.random.default_rng(0).normal(size=(3, 3)) @ np.diag([1.0, 0.3, 0.1])
    covariance = root @ root.T
    x = np.random.default_rng(1).normal(size=(NUM, 3)) @ root.T
    return covariance, x, -x @ np.linalg.inv(covariance)


@pytest.mark.parametrize("name", PROCESSES)
def test_no_variance_on_a_gaussian(gaussian: Any, name: str) -> None:
    """The target is the score of the noised point itself, at every level."""
    covariance, x, g = gaussian
    noise = PROCESSES[name]
    loss = TargetScoreMatching(covariance, noise=noise)
    t = jnp.linspace(1e-3, 1.0, NUM)
    alpha, sigma = noise.alpha(t), noise.sigma(t)
    z = jax.random.normal(KEY, x.shape)
    noised = alpha[:, None] * x + sigma[:, None] * z
    of_noised = alpha[:, None, None] ** 2 * covariance + sigma[:, None, None] ** 2 * np.eye(3)
    score = -np.linalg.solve(of_noised, noised[..., None])[..., 0]
    target = loss.target(jnp.asarray(g), z, alpha, sigma)
    np.testing.assert_allclose(target, -sigma[:, None] * score, atol=1e-9)


def test_less_variance_than_denoising_at_every_level(mixture: Any) -> None:
    """Given the noised point, by far at small noise; the mean is the same."""
    x0 = mixture.draw(KEY, NUM)
    g = jax.vmap(mixture.score)(x0)
    noise = VE(0.02, 20.0)
    loss = TargetScoreMatching(within_mode_covariance(np.asarray(x0), np.asarray(g)), noise=noise)
    z = jax.random.normal(jax.random.key(1), x0.shape)
    for sigma in (0.02, 0.1, 0.5, 2.0, 10.0):
        # E |target - truth|^2 is the variance given the noised point
        truth = -sigma * jax.vmap(mixture.score, (0, None))(x0 + sigma * z, sigma)
        level = jnp.full(NUM, sigma)
        target = loss.target(g, z, jnp.ones(NUM), level)
        of_target, of_noise = (np.sum((y - truth) ** 2, axis=1) for y in (target, z))
        gap = of_noise - of_target
        assert gap.mean() > 4 * gap.std() / np.sqrt(NUM)
        if sigma <= 0.1:
            assert of_target.mean() < 0.05 * of_noise.mean()


def test_covariance_of_a_gaussian_is_found(gaussian: Any) -> None:
    covariance, x, g = gaussian
    # the mean of NUM outer products of a Gaussian has a relative error of about sqrt(2 / NUM)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), within_mode_covariance(x, g)).T
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), whitened)
    np.testing.assert_allclose(whitened, np.eye(3), atol=5 * np.sqrt(2 / NUM))


def test_covariance_is_that_within_a_mode() -> None:
    rng = np.random.default_rng(0)
    center = np.where(rng.uniform(size=(NUM, 1)) < 0.5, 10.0, -10.0)
    away = rng.normal(size=(NUM, 2)) * [0.5, 2.0]
    found = within_mode_covariance(center * [1.0, 0.0] + away, -away / [0.25, 4.0])
    np.testing.assert_allclose(found, np.diag([0.25, 4.0]), rtol=5 * np.sqrt(2 / NUM), atol=0.05)


def test_covariance_is_limited_where_gradients_vanish() -> None:
    x = np.random.default_rng(0).normal(size=(NUM, 2))
    found = within_mode_covariance(x, x * [-1.0, 0.0])
    assert np.linalg.eigvalsh(found).max() < 1.1


class Linear(eqx.Module):
    """The score of a Gaussian of unknown precision with noise of known variance."""

    log_variance: Any
    noise: Any = VE(0.1, 10.0)

    def __call__(self, x: Any, t: Any) -> Any:
        return -x / (jnp.exp(self.log_variance) + self.noise.variance(t))


def test_fit_takes_pairs_or_a_log_density() -> None:
    """Both train, and find the variance of the density from a start that is off."""
    draws = 0.5 * np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
    settings: Any = {"rng_key": KEY, "num_steps": 500, "progress": False}
    settings["optimizer"] = cosine_adam(0.05)
    pairs = TargetScoreMatching(np.full(2, 0.25))
    points = TargetScoreMatching(np.full(2, 0.25), lambda x: -2 * jnp.sum(x**2))
    for loss, data in ((pairs, (draws, -4 * draws)), (points, draws)):
        model, history = fit(Linear(jnp.zeros(())), data, loss, **settings)
        np.testing.assert_allclose(np.exp(model.log_variance), 0.25, rtol=0.02)
        # what is left is the model's own error, which denoising's loss would hide
        assert history.train_loss[-1] < 1e-3 * history.train_loss[0]
    denoising = fit(Linear(jnp.zeros(())), draws, ContinuousDenoising(), **settings).history
    assert denoising.train_loss[-1] > 0.1


def test_another_covariance_is_the_same_program(caplog: Any) -> None:
    draws = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    model = ScoreNetwork(ResidualMLP(2, width=8, rng_key=KEY), VE(0.1, 10.0))
    for variance in (0.5, 1.0):
        caplog.clear()
        with jax.log_compiles():
            loss = TargetScoreMatching(np.full(2, variance))
            fit(model, (draws, -draws), loss, rng_key=KEY, num_steps=1, progress=False)
        compiled = [text for text in caplog.messages if text.startswith("Compiling")]
        assert any("jit(run)" in text for text in compiled) == (variance == 0.5)


BATCH = np.ones((4, 2), np.float32)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: TargetScoreMatching(np.zeros(2)), "smallest eigenvalue"),
        (lambda: TargetScoreMatching(np.array([[1.0, 2.0], [2.0, 1.0]])), "smallest eigenvalue"),
        (lambda: TargetScoreMatching(np.ones((2, 3))), r"shape \(2, 3\)"),
        (lambda: TargetScoreMatching(np.array([1.0, np.nan])), "finite"),
        (lambda: within_mode_covariance(BATCH, BATCH[:3]), "the same shape"),
        (lambda: within_mode_covariance(BATCH[:1], BATCH[:1]), "at least two"),
        (lambda: within_mode_covariance(BATCH, BATCH * np.nan), "4 of 4 gradients"),
        (lambda: within_mode_covariance(BATCH * [1.0, np.inf], BATCH), "4 of 4 draws"),
        (lambda: within_mode_covariance(BATCH, BATCH), r"do not differ in coordinates \[0, 1\]"),
    ],
)
def test_bad_settings(make: Any, match: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    ("loss", "batch", "match"),
    [
        (TargetScoreMatching(np.ones(2)), BATCH, "no gradients"),
        (TargetScoreMatching(np.ones(2), jnp.sum), (BATCH, BATCH), "beside a logdensity_fn"),
        (TargetScoreMatching(np.ones(2)), (BATCH, BATCH[:, :1]), "all three must match"),
        (TargetScoreMatching(np.ones(3)), (BATCH, BATCH), "is of 3 coordinates"),
    ],
)
def test_bad_batches(loss: Any, batch: Any, match: str, unchecked: None) -> None:
    model = ScoreNetwork(ResidualMLP(2, width=8, rng_key=KEY), VE(0.1, 10.0))
    with pytest.raises(ValueError, match=match):
        loss(model, batch, KEY)
    with pytest.raises(ValueError, match="no noise process"):
        loss(lambda x, t: -x, batch, KEY)
