"""A mixture of scores is the score of the mixture, where the densities are right."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP
from numpyro_score.scores import (
    FunctionScore,
    GaussianMixtureScore,
    Mixture,
    empirical_score,
    fitted_gaussian,
    gaussian_score,
)

MEANS, SDS, WEIGHTS = (
    np.array([[-2.0, 0.0], [3.0, 1.0]]),
    np.array([1.0, 0.7]),
    np.array([0.3, 0.7]),
)


def parts(noise: Any) -> list[GaussianMixtureScore]:
    return [gaussian_score(m, s**2, noise) for m, s in zip(MEANS, SDS, strict=True)]


def points(noise: Any, t: float) -> Any:
    whole = GaussianMixtureScore(WEIGHTS, MEANS, SDS**2, noise)
    x0 = whole.sample(jax.random.key(0), 200)
    z = jax.random.normal(jax.random.key(1), x0.shape)
    return noise.alpha(t) * x0 + noise.sigma(t) * z


def test_exact_parts_give_the_exact_whole(noise: Any) -> None:
    model = Mixture(parts(noise), 2 * WEIGHTS)
    oracle = GaussianMixtureScore(WEIGHTS, MEANS, SDS**2, noise)
    for t in (0.1, 0.5, 0.9):
        x = points(noise, t)
        for form in ("__call__", "denoise"):
            ours, exact = (jax.vmap(getattr(m, form), (0, None))(x, t) for m in (model, oracle))
            np.testing.assert_allclose(ours, exact, rtol=1e-3, atol=1e-3)
        weights = jax.vmap(model.posterior_weights, (0, None))(x, t)
        np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-5)


def test_constant_weights_are_wrong() -> None:
    """The planted fault: mixing scores, not distributions, sends every point between the modes."""
    noise = VE(sigma_min=0.1, sigma_max=10.0)
    oracle = GaussianMixtureScore(WEIGHTS, MEANS, SDS**2, noise)
    same = [lambda x, t: jnp.zeros(())] * 2
    wrong, x = Mixture(parts(noise), WEIGHTS, same), points(noise, 0.2)
    ours, exact = (jax.vmap(m, (0, None))(x, 0.2) for m in (wrong, oracle))
    assert jnp.sum((ours - exact) ** 2) > 0.2 * jnp.sum(exact**2)


def test_scores_without_densities_take_fitted_ones() -> None:
    """Parts known by score alone: their Gaussians, or their data, say how likely each is."""
    noise = VE(sigma_min=0.1, sigma_max=10.0)
    oracle = GaussianMixtureScore(WEIGHTS, MEANS, SDS**2, noise)
    rng = np.random.default_rng(0)
    data = [m + s * rng.normal(size=(4000, 2)) for m, s in zip(MEANS, SDS, strict=True)]
    scores = [FunctionScore(part, noise) for part in parts(noise)]  # no log_prob
    for fit, bound in ((fitted_gaussian, 0.002), (empirical_score, 0.01)):
        model = Mixture(scores, WEIGHTS, [fit(part, noise).log_prob for part in data])
        for t in (0.4, 0.8):  # noise of .6 and 4
            x = points(noise, t)
            ours, exact = (jax.jit(jax.vmap(m, (0, None)))(x, t) for m in (model, oracle))
            assert jnp.sum((ours - exact) ** 2) < bound * jnp.sum(exact**2)


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_mixed_is_refused() -> None:
    noise = VP()
    halves = parts(noise)
    with pytest.raises(ValueError, match=r"2 scores and weights of shape \(3,\)"):
        Mixture(halves, [0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match="0 scores"):
        Mixture([], [])
    with pytest.raises(ValueError, match="must all be above 0"):
        Mixture(halves, [0.0, 1.0])
    with pytest.raises(ValueError, match="different noise processes"):
        Mixture([halves[0], parts(VE())[1]], [0.5, 0.5])
    bare = [FunctionScore(half, noise) for half in halves]
    with pytest.raises(TypeError, match=r"FunctionScore has no log_prob.*fitted_gaussian"):
        Mixture(bare, [0.5, 0.5])
    with pytest.raises(ValueError, match="2 scores but 1 log_probs"):
        Mixture(bare, [0.5, 0.5], [halves[0].log_prob])
