"""Consistency losses on Gaussian data, whose consistency function is known in closed form.

The flow scales a coordinate of sd s by `sqrt(s^2 + sigma_end^2) / sqrt(s^2 + sigma^2)`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from numpyro_score.noise import VE, VP
from numpyro_score.samplers.grids import edm_ratios
from numpyro_score.scores import (
    ConsistencyModel,
    FunctionScore,
    PredictNoise,
    ResidualMLP,
    ScoreNetwork,
    StaticScore,
    gaussian_score,
)
from numpyro_score.training import cosine_adam, fit, fit_consistency, fit_score
from numpyro_score.training.fit_consistency import check_draws
from numpyro_score.training.losses import (
    ConsistencyDistillation,
    ConsistencyTraining,
    consistency_distillation,
    consistency_training,
)

SD = np.array([0.5, 2.0])
NOISE = VE(sigma_min=0.05, sigma_max=20.0)
TEACHER = gaussian_score(np.zeros(2), SD**2, NOISE)
DATA = SD * np.random.default_rng(0).normal(size=(20_000, 2))
END = NOISE.sigma(1e-3)
NUM_LEVELS = 40
CHECKED = jnp.array([0.3, 0.6, 1.0])


def gain(t: Any) -> Float[Array, " dim"]:
    """The consistency function in closed form: it scales each coordinate."""
    return jnp.sqrt((SD**2 + END**2) / (SD**2 + NOISE.variance(t)))


def slope(t: Any) -> Float[Array, " dim"]:
    """`(1 - gain) / (sigma - sigma_end)`, the predicted noise of a point of 1, also at the end."""
    n, n_end = jnp.sqrt(SD**2 + NOISE.variance(t)), jnp.sqrt(SD**2 + END**2)
    return (NOISE.sigma(t) + END) / (n * (n + n_end))


def hats(t: Any) -> Float[Array, " time"]:
    """Weights of four times, linear in t between them."""
    return jnp.maximum(1 - 3 * jnp.abs(t - jnp.linspace(0.0, 1.0, 4)), 0.0)


class Tilted(eqx.Module):
    """Predicted noise in closed form times `1 + theta`, linear in t between four times."""

    theta: Float[Array, "time dim"]

    def __call__(self, x: Any, t: Any) -> Any:
        return (1 + hats(t) @ self.theta) * slope(t) * x


def tilted(theta: Any = 0.0) -> ConsistencyModel:
    tilt = Tilted(jnp.broadcast_to(jnp.asarray(theta, float), (4, 2)))
    return ConsistencyModel(FunctionScore(tilt, NOISE, PredictNoise()))


def error_of(model: Any) -> float:
    """Largest relative error of a model's gain at three times."""
    found = jax.vmap(lambda t: model(jnp.ones(2), t))(CHECKED)
    return float(jnp.max(jnp.abs(found / jax.vmap(gain)(CHECKED) - 1)))


def trained(model: Any, loss: Any, num_steps: int = 800) -> Any:
    options: Any = {"num_steps": num_steps, "progress": False, "validation_fraction": 0.0}
    optimizer = cosine_adam(0.02)
    return fit(model, DATA, loss, rng_key=jax.random.key(1), optimizer=optimizer, **options).model


WRONG = np.array([[0.2, 0.2], [0.3, -0.3], [-0.3, 0.3], [0.2, 0.2]])
"""Where training starts: some tenths off at every level."""

LOSSES: dict[str, Callable[[], Any]] = {
    "distillation": lambda: ConsistencyDistillation(TEACHER, NUM_LEVELS),
    "training": lambda: ConsistencyTraining(600, most=160),
}


@pytest.mark.parametrize("case", LOSSES)
def test_training_ends_at_the_closed_form(case: str) -> None:
    start = tilted(WRONG)
    assert error_of(start) > 0.2
    # without a teacher the bias is that of 160 levels, see below, and the gradient has noise
    tolerance = {"distillation": 0.01, "training": 0.06}[case]
    assert error_of(trained(start, LOSSES[case]())) < tolerance


class NoBoundary(eqx.Module):
    """The closed form times `1 + theta`, at the end too: nothing makes it the identity there."""

    theta: Float[Array, "time dim"]
    noise: Any = NOISE
    end: float = 1e-3
    data_moments: Any = None

    def __call__(self, x: Any, t: Any) -> Any:
        return (1 + hats(t) @ self.theta) * gain(t) * x


@pytest.mark.parametrize("case", LOSSES)
def test_without_the_boundary_the_closed_form_is_missed(case: str) -> None:
    model = NoBoundary(jnp.asarray(WRONG, float))
    assert error_of(trained(model, LOSSES[case]())) > 0.1


def value(theta: float) -> float:
    loss = ConsistencyDistillation(TEACHER, NUM_LEVELS)
    return float(loss(tilted(theta), jnp.asarray(DATA[:4096], jnp.float32), jax.random.key(0)))


def test_distillation_leaves_no_error_at_the_closed_form() -> None:
    at_truth = value(0.0)
    assert at_truth < 2e-3 * value(0.1)
    assert at_truth < 2e-3 * value(-0.1)


def test_a_step_across_two_levels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = consistency_distillation.heun_step

    def too_far(score: Any, noise: Any, x: Any, t: Any, next_t: Any) -> Any:
        return right(score, noise, x, t, jnp.maximum(2 * next_t - t, 1e-3))

    monkeypatch.setattr(consistency_distillation, "heun_step", too_far)
    assert value(0.0) > 0.1 * value(0.1)


def gains_of_training(num_levels: int) -> Float[np.ndarray, "level dim"]:
    """What consistency training has as its minimum with N levels, from the end to t = 1.

    Given the upper point the mean of the lower one is
    `(s^2 + sigma_n sigma_{n+1}) / (s^2 + sigma_{n+1}^2)` times it, and what is left is Gaussian.
    """
    sigma = np.asarray(edm_ratios(NOISE, jnp.linspace(1.0, 0.0, num_levels + 1)), float)[:, None]
    low, high = sigma[:-1], sigma[1:]
    factors = (SD**2 + low * high) / (SD**2 + high**2)
    return np.concatenate([np.ones((1, 2)), np.cumprod(factors, axis=0)])


def test_the_bias_of_training_falls_with_the_levels() -> None:
    exact = np.asarray(gain(1.0))
    bias = [np.abs(gains_of_training(n)[-1] / exact - 1).max() for n in (40, 80, 160)]
    assert bias[2] < 0.05
    np.testing.assert_allclose([bias[0] / bias[1], bias[1] / bias[2]], 2.0, rtol=0.15)


def nearest_level(sigmas: Any, t: Any) -> Any:
    return jnp.argmin(jnp.abs(jnp.log(sigmas / NOISE.sigma(t))))


@pytest.mark.parametrize(
    ("planted", "is_found"), [(0.0, False), (0.05, True), ("two levels", True)]
)
def test_training_has_its_minimum_where_it_should(
    planted: Any, is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient is 0 there, and not where the noise is 5% off or a step crosses two levels."""
    num_levels = 10
    sigmas = edm_ratios(NOISE, jnp.linspace(1.0, 0.0, num_levels + 1))
    if planted == "two levels":
        planted = 0.0
        right = consistency_training.noised

        def too_far(noise: Any, x0: Any, z: Any, t: Any) -> Any:
            lower = sigmas[jnp.maximum(nearest_level(sigmas, t) - 1, 0)]
            return right(noise, x0, z, noise.time_of(lower))

        monkeypatch.setattr(consistency_training, "noised", too_far)
    gains = jnp.asarray(gains_of_training(num_levels), jnp.float32)
    slopes = (1 - gains) / jnp.maximum(sigmas - END, 1e-6)[:, None]
    loss = ConsistencyTraining(1, num_levels, num_levels)

    def value(theta: Any, key: Any) -> Any:
        def predict(x: Any, t: Any) -> Any:
            return (1 + planted + theta) * slopes[nearest_level(sigmas, t)] * x

        model = ConsistencyModel(FunctionScore(predict, NOISE, PredictNoise()))
        return loss.update(model, SD * jax.random.normal(key, (512, 2)), key, jnp.zeros((), int))[0]

    keys = jax.random.split(jax.random.key(3), 200)
    slopes_found = jax.jit(jax.vmap(jax.grad(value), (None, 0)))(jnp.zeros(2), keys)
    z = jnp.mean(slopes_found, axis=0) / (jnp.std(slopes_found, axis=0) / len(keys) ** 0.5)
    assert bool((jnp.abs(z) > 5).all()) == is_found, z
    assert is_found or float(jnp.max(jnp.abs(z))) < 4.5


@pytest.mark.parametrize("noise", [NOISE, VP()])
def test_every_network_keeps_the_boundary(noise: Any) -> None:
    network = ResidualMLP(2, 8, 1, y_dim=3, rng_key=jax.random.key(0))
    large = jax.tree.map(lambda leaf: 3.0 * leaf, network, is_leaf=eqx.is_inexact_array)
    model = ConsistencyModel(ScoreNetwork(large, noise, DATA))
    x, y = jnp.array([1.0, -4.0]), jnp.arange(3.0)
    np.testing.assert_allclose(model(x, model.end, y), x, rtol=1e-5)
    assert float(jnp.max(jnp.abs(model(x, 0.5, y) - x))) > 1e-2


def test_conditions_reach_both_losses() -> None:
    network = ResidualMLP(2, 8, 1, y_dim=1, rng_key=jax.random.key(0))
    score = ScoreNetwork(network, NOISE, DATA)
    model, key = ConsistencyModel(score), jax.random.key(0)
    x, y = jnp.asarray(DATA[:32], jnp.float32), jnp.ones((32, 1))
    training = ConsistencyTraining(10)
    begin = training.init(model, (x, y), key)
    values = [
        ConsistencyDistillation(score)(model, (x, y), key),
        training.update(model, (x, y), key, begin)[0],
    ]
    assert np.isfinite(values).all()


@pytest.mark.slow
def test_fit_consistency_of_any_scale() -> None:
    """Draws of unequal scales at a large location, conditional ones too: it runs and fits."""
    draws = np.array([2458000.0, 0.0]) + DATA[:500] * [1e-3, 10.0]
    options: Any = {"rng_key": jax.random.key(0), "num_steps": 5, "progress": False, "depth": 1}
    teacher = fit_score(draws, **options).model
    model = fit_consistency(draws, teacher=teacher, **options).model
    v = model.whitening.whiten(draws)[0]
    np.testing.assert_allclose(model.standard(jnp.asarray(v), model.end), v, rtol=1e-4)
    conditions = DATA[:500, :1]
    model = fit_consistency((draws, conditions), **options).model.standard
    assert model(jnp.zeros(2), 0.5, jnp.zeros(1)).shape == (2,)


def test_draws_unlike_the_data_are_warned_of() -> None:
    key = jax.random.key(0)
    fitted = FunctionScore(lambda x, t: x * slope(t), NOISE, PredictNoise())
    check_draws(ConsistencyModel(fitted), DATA, key)
    # the score's own slope, before training, takes all points to the mean
    with pytest.warns(UserWarning, match=r"have 0\.1. times the sd of the data"):
        check_draws(ConsistencyModel(TEACHER), DATA, key)


def test_bad_input_is_refused_before_training() -> None:
    x, key = jnp.asarray(DATA[:8], jnp.float32), jax.random.key(0)
    model = ConsistencyModel(TEACHER)
    other = gaussian_score(np.zeros(2), SD**2, VE(sigma_min=0.05, sigma_max=30.0))
    with pytest.raises(ValueError, match=r"noise process is .*30.* the model's .*20"):
        ConsistencyDistillation(other)(model, x, key)
    with pytest.raises(TypeError, match="takes a noise level"):
        ConsistencyModel(StaticScore(ResidualMLP(2, 8, 1, rng_key=key)))
    function = ConsistencyModel(FunctionScore(lambda x: x, NOISE))
    with pytest.raises(ValueError, match="does not take arguments of shapes"):
        ConsistencyDistillation(TEACHER)(function, x, key)
    level_free = ScoreNetwork(eqx.nn.MLP(2, 2, 8, 1, key=key), NOISE)
    with pytest.raises(ValueError, match="does not take arguments of shapes"):
        fit_consistency(DATA, teacher=level_free, rng_key=key)
    with pytest.raises(TypeError, match="without an end"):
        ConsistencyDistillation(TEACHER)(TEACHER, x, key)
    with pytest.raises(TypeError, match="give a trained score model"):
        ConsistencyDistillation(lambda x, t: x)
    with pytest.raises(TypeError, match="give a trained score model"):
        fit_consistency(DATA, teacher=lambda x, t: x, rng_key=key)
    three = ScoreNetwork(ResidualMLP(3, 8, 1, rng_key=key), NOISE)
    with pytest.raises(ValueError, match=r"\(2,\) each, and the teacher's points \(3,\)"):
        fit_consistency(DATA, teacher=three, rng_key=key)
    with pytest.raises(ValueError, match="most is 5"):
        ConsistencyTraining(100, fewest=10, most=5)
    with pytest.raises(ValueError, match="end is 1"):
        ConsistencyModel(TEACHER, end=1.0)
    with pytest.raises(ValueError, match="huber is 0"):
        ConsistencyDistillation(TEACHER, huber=0.0)
