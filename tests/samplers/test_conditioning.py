"""Posterior scores beside closed forms: exact for a Gaussian prior, of known bias for a mixture."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VP
from numpyro_score.samplers import (
    GaussianPosteriorScore,
    GuidedScore,
    PosteriorScore,
    reverse_sde,
    spread_by_tweedie,
    spread_of_gaussian,
)
from numpyro_score.scores import FunctionScore, GaussianMixtureScore, gaussian_score

NOISE = VP()
WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([[-2.0, 1.0], [2.0, -1.0]])
VARIANCES = np.array([[0.5, 1.0], [1.0, 0.3]])
PRIOR = GaussianMixtureScore(WEIGHTS, MEANS, VARIANCES, NOISE)
NUM = 10_000
# what is observed: the operator, y, the variance
ONE: Any = ([[1.0, 0.5]], [0.3], 1.0)
BOTH: Any = ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.5], 0.5)
# the largest error of a mode weight, of a mean in sds and of an sd (relative), without Monte Carlo
# error; and what at least it is, where the approximation shows
BIAS: dict[str, tuple[Any, float, float, float, float]] = {
    "dps": (None, 0.10, 0.25, 0.38, 0.15),
    "gaussian": (spread_of_gaussian, 0.07, 0.15, 0.08, 0.02),
    "tweedie": (spread_by_tweedie, 0.04, 0.10, 0.03, 0.0),
}


class Summary(NamedTuple):
    weight: float
    mean: np.ndarray
    sd: np.ndarray


def closed_form(observation: Any) -> GaussianMixtureScore:
    a, y, r = (np.asarray(v) for v in observation)
    logs, means, covariances = [], [], []
    for weight, mean, variance in zip(WEIGHTS, MEANS, VARIANCES, strict=True):
        total = a @ np.diag(variance) @ a.T + r * np.eye(len(y))
        gain = np.diag(variance) @ a.T @ np.linalg.inv(total)
        gap = y - a @ mean
        log_density = -0.5 * (np.linalg.slogdet(total)[1] + gap @ np.linalg.solve(total, gap))
        logs.append(np.log(weight) + log_density)
        means.append(mean + gain @ gap)
        covariances.append(np.diag(variance) - gain @ a @ np.diag(variance))
    weights = np.exp(np.array(logs) - max(logs))
    return GaussianMixtureScore(weights, np.array(means), np.array(covariances), NOISE)


def summary(exact: GaussianMixtureScore, draws: Any) -> Summary:
    x = jnp.asarray(draws)
    logs = jax.vmap(exact.component_log_probs, (0, None))(x, 1e-3)
    weight = float(jax.nn.softmax(logs, axis=1)[:, 0].mean())
    return Summary(weight, np.asarray(x.mean(axis=0)), np.asarray(x.std(axis=0)))


def make(case: str, observation: Any, prior: Any = PRIOR) -> Any:
    a, y, r = (jnp.asarray(v) for v in observation)
    spread = BIAS[case][0]
    if spread is None:
        return PosteriorScore(prior, partial(log_likelihood, a, y, r))
    a, y, r = observation
    return GaussianPosteriorScore(prior, a, y, r, spread=spread)


def log_likelihood(a: Any, y: Any, r: Any, x: Any) -> Any:
    return -jnp.sum((y - a @ x) ** 2) / (2 * r)


def draw(score: Any) -> np.ndarray:
    return reverse_sde(score, NOISE, (2,), num_steps=60).sample(jax.random.key(0), NUM)


@pytest.mark.parametrize("observation", [ONE, BOTH], ids=["one", "both"])
@pytest.mark.parametrize("case", BIAS)
def test_the_posterior_of_a_mixture(case: str, observation: Any) -> None:
    """Within the errors that the docs state; the plain likelihood is too narrow by its bias."""
    _, of_weight, of_mean, of_sd, at_least = BIAS[case]
    exact = closed_form(observation)
    truth = summary(exact, exact.sample(jax.random.key(1), 100_000))
    found = summary(exact, draw(make(case, observation)))
    mc = 4.5 / np.sqrt(NUM)
    weight_error = abs(found.weight - truth.weight)
    mean_error = abs(found.mean - truth.mean) / truth.sd
    sd_error = abs(found.sd / truth.sd - 1)
    assert weight_error < of_weight + 0.5 * mc
    assert (mean_error < of_mean + mc).all()
    assert (sd_error < of_sd + mc).all()
    assert sd_error.max() > at_least or case == "tweedie"
    # with the posterior's own score the sampler adds no error of its own
    own = summary(exact, draw(exact))
    assert abs(own.weight - truth.weight) < 0.5 * mc + 0.003
    assert (abs(own.sd / truth.sd - 1) < mc + 0.005).all()


@pytest.mark.parametrize("spread", [spread_by_tweedie, spread_of_gaussian])
def test_a_gaussian_prior_is_exact(spread: Any, x64: None) -> None:
    """At every noise level the score is that of the noised posterior."""
    sd = np.array([1.0, 2.0])
    prior = gaussian_score([1.0, -1.0], sd**2, NOISE)
    a, y, r = np.array([[1.0, 0.5]]), np.array([0.3]), 0.4
    total = a @ np.diag(sd**2) @ a.T + r
    gain = np.diag(sd**2) @ a.T / total
    mean = np.array([1.0, -1.0]) + gain @ (y - a @ np.array([1.0, -1.0]))
    exact = gaussian_score(mean, np.diag(sd**2) - gain @ a @ np.diag(sd**2), NOISE)
    posterior = GaussianPosteriorScore(prior, a, y, r, spread=spread)
    x = jnp.array([0.7, -0.2])
    for t in (0.01, 0.3, 0.9):
        np.testing.assert_allclose(posterior(x, t), exact(x, t), rtol=1e-6)
    # the likelihood at the denoised point alone is not, but where there is next to no noise
    plain = PosteriorScore(prior, partial(log_likelihood, a, y, r))
    np.testing.assert_allclose(plain(x, 1e-4), exact(x, 1e-4), rtol=1e-3)
    assert float(abs(plain(x, 0.5) / exact(x, 0.5) - 1).max()) > 0.1


def test_a_denoiser_that_shrinks_backwards_has_no_negative_spread() -> None:
    """As learned ones do at noise that training rarely saw."""
    backwards = FunctionScore(lambda x, t: -3.0 * x / NOISE.variance(t), NOISE)
    posterior = GaussianPosteriorScore(backwards, np.eye(2), np.ones(2), 0.1)
    x = jnp.array([0.5, -1.0])
    assert (jnp.linalg.eigvalsh(spread_by_tweedie(posterior, x, jnp.asarray(0.9))) >= 0).all()
    assert jnp.isfinite(posterior(x, jnp.asarray(0.9))).all()


def test_a_general_likelihood_goes_through_vmap_and_jit() -> None:
    """Counts of a Poisson distribution: anything that can be differentiated."""
    posterior = PosteriorScore(PRIOR, lambda x: jnp.sum(3.0 * x - jnp.exp(x)))
    x = jnp.ones((5, 2))
    assert jax.jit(jax.vmap(posterior, (0, None)))(x, 0.4).shape == (5, 2)
    assert posterior.shape == (2,)
    assert posterior.data_moments is not None


def test_guidance_is_the_formula() -> None:
    model = FunctionScore(lambda x, t, y=None: -x if y is None else 2 * y - x, NOISE)
    x, y = jnp.array([1.0]), jnp.array([3.0])
    for weight in (-1.0, 0.0, 2.0):
        expected = (1 + weight) * (6.0 - x) - weight * -x
        np.testing.assert_allclose(GuidedScore(model, y, weight)(x, 0.5), expected)


def test_guidance_sharpens() -> None:
    """Two classes of a mixture: at w = 0 the class itself, above it further from the other."""
    halves = [gaussian_score(m, 1.0, NOISE) for m in MEANS]

    def conditional(x: Any, t: Any, y: Any = None) -> Any:
        return (
            PRIOR_OF_HALVES(x, t) if y is None else jnp.where(y[0] > 0, *(h(x, t) for h in halves))
        )

    model = FunctionScore(conditional, NOISE)
    plain, guided = (
        reverse_sde(GuidedScore(model, [1.0], w), NOISE, (2,), num_steps=60).sample(
            jax.random.key(0), 4000
        )
        for w in (0.0, 2.0)
    )
    assert (abs(plain.mean(axis=0) - MEANS[0]) < 4.5 / np.sqrt(4000)).all()
    assert guided.mean(axis=0)[0] < MEANS[0][0] - 0.05


PRIOR_OF_HALVES = GaussianMixtureScore([0.5, 0.5], MEANS, 1.0, NOISE)


@pytest.mark.parametrize(
    ("make_score", "error", "message"),
    [
        (lambda: PosteriorScore(lambda x, t: -x, lambda x: 0.0), TypeError, "give noise="),
        (
            lambda: GaussianPosteriorScore(PRIOR, [1.0, 0.0], [1.0], 1.0),
            ValueError,
            r"operator has shape \(2,\)",
        ),
        (lambda: GaussianPosteriorScore(PRIOR, ONE[0], ONE[1], 0.0), ValueError, "above 0"),
        (lambda: GuidedScore(PRIOR, [1.0], -2.0), ValueError, "weight is -2"),
    ],
)
def test_bad_input_is_refused(make_score: Any, error: Any, message: str, unchecked: None) -> None:
    with pytest.raises(error, match=message):
        make_score()


def test_bad_points_are_refused(unchecked: None) -> None:
    posterior = GaussianPosteriorScore(gaussian_score(np.zeros(3), 1.0, NOISE), *ONE)
    with pytest.raises(ValueError, match="3 numbers but the operator 2"):
        reverse_sde(posterior, NOISE, (3,))
    unknown = GaussianPosteriorScore(
        lambda x, t: -x, ONE[0], ONE[1], 1.0, NOISE, spread=spread_of_gaussian
    )
    with pytest.raises(ValueError, match="does not know the sd"):
        reverse_sde(unknown, NOISE, (2,))
