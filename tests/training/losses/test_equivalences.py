"""Losses that theory makes equal up to a constant: the difference of two models' losses agrees.

No training. Each pair of losses is also shown to differ when one of them is wrong.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VE, VP, NoiseProcess, geometric_ladder
from numpyro_score.scores import KernelDensity
from numpyro_score.training.losses import (
    ContinuousDenoising,
    DenoisingScoreMatching,
    EDMWeight,
    ExplicitScoreMatching,
    ExplicitSlicedScoreMatching,
    LadderDenoising,
    LogNormal,
    SlicedScoreMatching,
    TargetScoreMatching,
    UniformTime,
    gaussian,
    implicit_score_matching,
    rademacher,
    sphere,
)
from numpyro_score.training.losses.base import as_batch
from numpyro_score.training.losses.denoising import denoising_error
from numpyro_score.training.losses.levels import LogUniform, sigma_squared, spread

BATCHES, BATCH = 100, 2000
LIMIT = 4.0
"""Monte Carlo standard errors that two equal losses may be apart."""

Draw = Callable[[Any, int], Any]


def z_scores(
    one: Any, others: Sequence[Any], models: Any, draw: Draw, seed: int = 0
) -> list[float]:
    """Difference of two models' losses: how far other losses are from one, in standard errors.

    The losses see the same batches and have random numbers of their own.
    """

    @jax.jit
    def gaps(rng_key: Any) -> Any:
        key_draw, *keys = jax.random.split(rng_key, 2 + len(others))
        batch = draw(key_draw, BATCH)
        first, *rest = (
            loss(models[0], batch, key) - loss(models[1], batch, key)
            for loss, key in zip((one, *others), keys, strict=True)
        )
        return jnp.stack([other - first for other in rest])

    values = np.array(jax.lax.map(gaps, jax.random.split(jax.random.key(seed), BATCHES)), float)
    assert (values.std(axis=0) > 0).all()
    return list(values.mean(axis=0) / (values.std(axis=0, ddof=1) / np.sqrt(BATCHES)))


def check(one: Any, equal: Any, wrong: Any, models: Any, draw: Draw) -> None:
    right, planted = z_scores(one, (equal, wrong), models, draw)
    assert abs(right) < LIMIT
    assert abs(planted) > 3 * LIMIT


def no_half(model: Any, batch: Any, rng_key: Any) -> Any:
    """Implicit score matching that forgets the factor 1/2."""
    norms = jnp.sum(jax.vmap(model)(batch) ** 2, axis=1)
    return implicit_score_matching(model, batch, rng_key) + jnp.mean(norms) / 2


def unit_sphere(rng_key: Any, shape: Any, dtype: Any) -> Any:
    """Directions of length 1, whose second moment is not the identity."""
    return sphere(rng_key, shape, dtype) / np.sqrt(shape[-1])


class OtherWay(eqx.Module):
    """Denoising towards the noise, not away from it."""

    sigma: float

    def __call__(self, model: Any, batch: Any, rng_key: Any) -> Any:
        z = jax.random.normal(rng_key, batch.shape)
        errors = jax.vmap(model)(batch + self.sigma * z) - z / self.sigma
        return jnp.mean(jnp.sum(errors**2, axis=1)) / 2


def test_explicit_and_implicit(mixture: Any, models: Any) -> None:
    explicit = ExplicitScoreMatching(mixture.score)
    check(explicit, implicit_score_matching, no_half, models, mixture.draw)


@pytest.mark.parametrize("variance_reduced", [False, True])
@pytest.mark.parametrize("projection", [rademacher, gaussian, sphere])
def test_explicit_and_implicit_sliced(
    mixture: Any, models: Any, projection: Any, variance_reduced: bool
) -> None:
    explicit = ExplicitSlicedScoreMatching(mixture.score, projection, num_projections=2)
    implicit = SlicedScoreMatching(projection, 2, variance_reduced)
    wrong = SlicedScoreMatching(unit_sphere, 2, variance_reduced)
    check(explicit, implicit, wrong, models, mixture.draw)


def test_sliced_and_unsliced(mixture: Any, models: Any) -> None:
    for one, other in (
        (ExplicitScoreMatching(mixture.score), ExplicitSlicedScoreMatching(mixture.score)),
        (implicit_score_matching, SlicedScoreMatching(gaussian)),
    ):
        assert abs(z_scores(one, [other], models, mixture.draw)[0]) < LIMIT


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_explicit_on_noised_data_and_denoising(mixture: Any, models: Any, sigma: float) -> None:
    """The noised distribution is a mixture too, so that its score is known."""
    explicit = ExplicitScoreMatching(lambda x: mixture.score(x, sigma), noise_scale=sigma)
    denoising = DenoisingScoreMatching(sigma)
    check(explicit, denoising, OtherWay(sigma), models, mixture.draw)


def test_kernel_density_and_denoising(mixture: Any, models: Any) -> None:
    """Data with noise have the kernel density estimate as density: Vincent's identity itself."""
    data = mixture.draw(jax.random.key(5), 40)

    def resample(rng_key: Any, num: int) -> Any:
        return data[jax.random.randint(rng_key, (num,), 0, len(data))]

    explicit = ExplicitScoreMatching(KernelDensity(data, bandwidth=0.3))
    denoising = DenoisingScoreMatching(0.3)
    # the data themselves are no draws from the estimate
    unmoved = ExplicitScoreMatching(KernelDensity(data, bandwidth=0.3), noise_scale=0.0)
    check(explicit, denoising, unmoved, models, resample)


class ExplicitOverLevels(eqx.Module):
    """Explicit score matching against the score of the noised data, at the levels of a loss."""

    noise: NoiseProcess
    levels: Any
    weight: Any
    score: Any

    def __call__(self, model: Any, batch: Any, rng_key: Any) -> Any:
        batch = as_batch(batch)
        key_level, key_noise = jax.random.split(rng_key)
        t = self.levels(spread(key_level, len(batch), batch.dtype), self.noise)
        z = jax.random.normal(key_noise, batch.shape)
        alpha, sigma = self.noise.alpha(t), self.noise.sigma(t)

        def error(x0: Any, z: Any, t: Any, alpha: Any, sigma: Any) -> Any:
            # alpha x_0 + sigma z is alpha times data with noise of sd sigma / alpha
            x = alpha * x0 + sigma * z
            truth = self.score(x / alpha, sigma / alpha) / alpha
            return jnp.sum((model(x, t) - truth) ** 2)

        errors = jax.vmap(error)(batch, z, t, alpha, sigma)
        return jnp.mean(self.weight(alpha, sigma) * errors) / 2


class Rungs(eqx.Module):
    """The levels of a ladder as a distribution of the time."""

    sigmas: Any

    def __call__(self, u: Any, noise: NoiseProcess) -> Any:
        rung = jnp.floor(u * len(self.sigmas)).astype(int)
        return noise.time_of(jnp.asarray(self.sigmas))[rung]


LADDER = geometric_ladder(5.0, 0.2, 7)
OVER_LEVELS: dict[str, Any] = {
    "log-uniform": (VE(0.2, 5.0), LogUniform(), sigma_squared),
    "log-normal, EDM": (VE(0.1, 10.0), LogNormal(0.0, 1.0), EDMWeight(1.2)),
    "variance-preserving": (VP(), UniformTime(0.05), sigma_squared),
    "EDM, variance-preserving": (VP(), LogUniform(0.2), EDMWeight(1.2)),
    "ladder": (VE(0.2, 5.0), Rungs(tuple(LADDER)), sigma_squared),
}


@pytest.mark.parametrize("name", OVER_LEVELS)
def test_explicit_and_denoising_over_levels(mixture: Any, models: Any, name: str) -> None:
    noise, levels, weight = OVER_LEVELS[name]
    explicit = ExplicitOverLevels(noise, levels, weight, mixture.score)
    denoising = (
        LadderDenoising(LADDER, noise, weight)
        if name == "ladder"
        else ContinuousDenoising(noise, levels, weight)
    )

    def in_time(model: Any) -> Any:
        # of the right size at every level, or the largest would drown the others
        return lambda x, t: model(x / noise.alpha(t)) / noise.ratio(t)

    timed = [in_time(model) for model in models]

    def other_weight(alpha: Any, sigma: Any) -> Any:
        return weight(alpha, sigma) * (1 + sigma / alpha)

    def wrong(model: Any, batch: Any, rng_key: Any) -> Any:
        key_level, key_noise = jax.random.split(rng_key)
        t = levels(spread(key_level, len(batch), batch.dtype), noise)
        return denoising_error(model, batch, key_noise, noise, t, other_weight)

    check(explicit, denoising, wrong, timed, mixture.draw)


# levels at which the gradients weigh much
SMALL_LEVELS: dict[str, Any] = {
    "exploding": (VE(0.1, 1.0), LogUniform(), sigma_squared),
    "EDM, preserving": (VP(), LogUniform(0.1, 1.0), EDMWeight(1.2)),
}


@pytest.mark.parametrize("name", SMALL_LEVELS)
def test_explicit_and_target_score_over_levels(mixture: Any, models: Any, name: str) -> None:
    """For any covariance, with gradients from either side; gradients of the energy are wrong."""
    noise, levels, weight = SMALL_LEVELS[name]
    explicit = ExplicitOverLevels(noise, levels, weight, mixture.score)
    covariance = np.array([[0.4, 0.1], [0.1, 0.2]])
    pairs = TargetScoreMatching(covariance, None, noise, levels, weight)
    points = TargetScoreMatching(covariance, mixture.logdensity, noise, levels, weight)

    def in_time(model: Any) -> Any:
        return lambda x, t: model(x / noise.alpha(t)) / noise.ratio(t)

    def with_gradients(factor: float) -> Any:
        def loss(model: Any, batch: Any, rng_key: Any) -> Any:
            return pairs(model, (batch, factor * jax.vmap(mixture.score)(batch)), rng_key)

        return loss

    timed = [in_time(model) for model in models]
    losses = [with_gradients(1.0), points, with_gradients(-1.0)]
    *right, planted = z_scores(explicit, losses, timed, mixture.draw)
    assert np.abs(right).max() < LIMIT
    assert abs(planted) > 3 * LIMIT
