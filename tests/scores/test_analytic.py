"""The oracle against what others compute, since everything learned is measured against it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.hermite import hermgauss
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from numpyro_score.noise import VE, VP
from numpyro_score.scores import (
    GaussianMixtureScore,
    empirical_score,
    fitted_gaussian,
    gaussian_score,
    target_score,
)
from numpyro_score.targets import (
    funnel,
    gumbel,
    ill_gaussian,
    ill_gaussian_rotated,
    mixture_1d,
    std_gaussian,
    two_modes,
)

TIMES = (0.02, 0.3, 0.8)
FORMS = {
    "one": (0.7, np.stack([0.7 * np.eye(2)] * 3)),
    "isotropic": ([0.5, 1.0, 2.0], np.array([0.5, 1.0, 2.0])[:, None, None] * np.eye(2)),
    "diagonal": (
        [[0.5, 1.0], [1.0, 3.0], [2.0, 0.1]],
        np.array([np.diag([0.5, 1.0]), np.diag([1.0, 3.0]), np.diag([2.0, 0.1])]),
    ),
    "full": (
        [[[1.0, 0.5], [0.5, 2.0]], [[0.3, -0.1], [-0.1, 0.2]], [[1.0, 1.0], [1.0, 1.0]]],
        np.array([[[1.0, 0.5], [0.5, 2.0]], [[0.3, -0.1], [-0.1, 0.2]], [[1.0, 1.0], [1.0, 1.0]]]),
    ),
}
WEIGHTS, MEANS = np.array([0.2, 0.3, 0.5]), np.array([[-2.0, 0.0], [1.0, 1.0], [0.0, 4.0]])


@pytest.mark.parametrize("form", FORMS)
def test_log_density_is_scipy_s(form: str, noise: Any, x64: None) -> None:
    given, covariances = FORMS[form]
    model = GaussianMixtureScore(3 * WEIGHTS, MEANS, given, noise)
    points = np.random.default_rng(1).normal(size=(20, 2)) * 2
    component_log_probs = jax.jit(jax.vmap(model.component_log_probs, (0, None)))
    log_prob = jax.jit(jax.vmap(model.log_prob, (0, None)))
    for t in TIMES:
        alpha, variance = float(noise.alpha(t)), float(noise.variance(t))
        terms = [
            np.log(w)
            + multivariate_normal(alpha * m, alpha**2 * c + variance * np.eye(2)).logpdf(points)
            for w, m, c in zip(WEIGHTS, MEANS, covariances, strict=True)
        ]
        ours = component_log_probs(points, t)
        np.testing.assert_allclose(ours, np.transpose(terms), rtol=1e-8, atol=1e-8)
        total = logsumexp(terms, axis=0)
        np.testing.assert_allclose(log_prob(points, t), total, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_score_is_the_gradient_of_the_log_density(form: str, noise: Any, x64: None) -> None:
    model = GaussianMixtureScore(WEIGHTS, MEANS, FORMS[form][0], noise)
    points = np.random.default_rng(2).normal(size=(20, 2)) * 2
    both = jax.jit(jax.vmap(lambda x, t: (model(x, t), jax.grad(model.log_prob)(x, t)), (0, None)))
    for t in TIMES:
        score, gradient = both(points, t)
        np.testing.assert_allclose(score, gradient, rtol=1e-8, atol=1e-8)


def test_the_forms_are_conditional_means(noise: Any, x64: None) -> None:
    """Denoised point, noise and velocity by Gauss-Hermite quadrature over the data, in 1-D."""
    weights, means, sds = np.array([0.3, 0.7]), np.array([-1.0, 2.0]), np.array([0.5, 1.0])
    model = GaussianMixtureScore(weights, means[:, None], sds**2, noise)
    nodes, mass = hermgauss(150)
    x0 = (means[:, None] + np.sqrt(2) * sds[:, None] * nodes).ravel()
    log_mass = (np.log(weights)[:, None] + np.log(mass)).ravel()

    @jax.jit
    def every_form(x: Any, t: Any) -> Any:
        return model.denoise(x, t), model.predict_noise(x, t), model.predict_velocity(x, t)

    for t in (0.4, 0.8):
        alpha, sigma = float(noise.alpha(t)), float(noise.sigma(t))
        for x in (-1.5, 0.2, 3.0):
            w = np.exp(log_mass - 0.5 * ((x - alpha * x0) / sigma) ** 2)
            denoised = w @ x0 / w.sum()
            z = (x - alpha * denoised) / sigma
            expected = [denoised], [z], [alpha * z - sigma * denoised]
            found = every_form(np.array([x]), t)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_draws_have_the_mixture_s_moments(mixture: GaussianMixtureScore) -> None:
    draws = np.asarray(mixture.sample(jax.random.key(0), 50_000), float)
    w, m = np.array([0.2, 0.3, 0.5]), np.asarray(mixture.means.array, float)
    axes, variances = (np.asarray(a.array, float) for a in (mixture.axes, mixture.variances))  # type: ignore[union-attr]
    covariances = np.einsum("kij,kj,klj->kil", axes, variances, axes)
    mean = w @ m
    covariance = np.einsum("k,kij->ij", w, covariances) + (w * (m - mean).T) @ (m - mean)
    se = np.sqrt(np.diag(covariance) / len(draws))
    assert np.abs((draws.mean(0) - mean) / se).max() < 4.5
    centred = draws - mean
    products = np.einsum("ni,nj->nij", centred, centred)
    z = (products.mean(0) - covariance) / (products.std(0) / np.sqrt(len(draws)))
    assert np.abs(z).max() < 4.5


def test_single_precision_is_close(noise: Any) -> None:
    points = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32) * 2
    results = []
    for is_double in (False, True):
        with jax.enable_x64(is_double):
            model = GaussianMixtureScore(WEIGHTS, MEANS, FORMS["full"][0], noise)
            x = points.astype(np.float64 if is_double else np.float32)
            at_times = jax.vmap(jax.vmap(model, (None, 0)), (0, None))
            score = jax.jit(at_times)(x, np.asarray(TIMES, x.dtype))
            assert score.dtype == x.dtype
            results.append(np.asarray(score, float))
    np.testing.assert_allclose(results[0], results[1], rtol=2e-3, atol=2e-3 * abs(results[1]).max())


def test_points_may_have_any_shape() -> None:
    noise, images = VP(), np.random.default_rng(4).normal(size=(30, 1, 4, 4))
    model = empirical_score(images, noise)
    flat = empirical_score(images.reshape(30, 16), noise)
    x = jnp.asarray(images[0] + 0.1, jnp.float32)
    np.testing.assert_allclose(model(x, 0.4).reshape(-1), flat(x.reshape(-1), 0.4), rtol=1e-5)
    assert model.sample(jax.random.key(0), 3).shape == (3, 1, 4, 4)
    # noise of nothing leaves the nearest data point
    near = VE(sigma_min=0.01, sigma_max=1.0)
    denoised = empirical_score(images, near).denoise(x, 0.0)
    np.testing.assert_allclose(denoised, images[0], atol=1e-3)


def test_a_fitted_gaussian_has_the_data_s_moments() -> None:
    data = np.random.default_rng(5).normal(size=(200, 2)) @ [[1.0, 0.5], [0.0, 2.0]] + [3.0, -1.0]
    model, noise = fitted_gaussian(data, VP()), VP()
    exact = gaussian_score(data.mean(0), np.cov(data.T, bias=True), noise)
    x = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(model(x, 0.3), exact(x, 0.3), rtol=1e-5)
    one = fitted_gaussian(data[:, :1], noise)
    assert one(x[:1], 0.3).shape == (1,)


TARGETS = {
    "std_gaussian": lambda: std_gaussian(3),
    "ill_gaussian": lambda: ill_gaussian(4, 100.0),
    "ill_gaussian_rotated": ill_gaussian_rotated,
    "two_modes": two_modes,
    "mixture_1d": mixture_1d,
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_scores_are_their_gradients(name: str, x64: None) -> None:
    """VP has no noise at t = 0: the score there is the target's own."""
    target = TARGETS[name]()
    model = target_score(target, VP())
    draws = target.sample(jax.random.key(0), 20)["x"]
    both = jax.jit(jax.vmap(lambda x: (model(x, 0.0), jax.grad(target.logdensity_fn)(x))))
    score, gradient = both(draws)
    np.testing.assert_allclose(score, gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_gaussian_mixture_is_refused() -> None:
    for target in (gumbel(), funnel()):
        with pytest.raises(
            ValueError, match=rf"target '{target.name}' is neither.*ImportanceScore"
        ):
            target_score(target, VP())
    mean = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"weights have shape \(3,\) and means \(2, 3\)"):
        GaussianMixtureScore([1.0, 1.0, 1.0], mean, 1.0, VP())
    with pytest.raises(ValueError, match="must all be above 0"):
        GaussianMixtureScore([1.0, -1.0], mean, 1.0, VP())
    with pytest.raises(ValueError, match=r"covariances have shape \(3,\).*give one number"):
        GaussianMixtureScore([1.0, 1.0], mean, np.ones(3), VP())
    with pytest.raises(ValueError, match="not symmetric"):
        GaussianMixtureScore([1.0], mean[:1], [[[1.0, 1.0, 0.0]] * 3], VP())
    with pytest.raises(ValueError, match="eigenvalue -1"):
        GaussianMixtureScore([1.0], mean[:1], -1.0, VP())
    model = gaussian_score(np.zeros(3), 1.0, VP())
    with pytest.raises(ValueError, match=r"shape \(2,\) but the mixture \(3,\)"):
        model(jnp.zeros(2), 0.5)
    with pytest.raises(ValueError, match="has no condition"):
        model(jnp.zeros(3), 0.5, jnp.ones(1))
    for fit in (fitted_gaussian, empirical_score):
        with pytest.raises(ValueError, match="at least one point"):
            fit(np.zeros((0, 2)), VP())
        with pytest.raises(ValueError, match=r"x\[:, None\] where a point is one number"):
            fit(np.zeros(3), VP())
        with pytest.raises(ValueError, match="2 values that are not finite"):
            fit(np.array([[np.nan, np.inf], [0.0, 0.0]]), VP())
