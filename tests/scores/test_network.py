"""Preconditioning is right when a network that is right gives the right score, at any level."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from numpyro_score.noise import VE, VP
from numpyro_score.scores import (
    PredictDenoised,
    PredictNoise,
    PredictScore,
    PredictVelocity,
    ResidualMLP,
    ScoreNetwork,
    Standardisation,
    StaticScore,
    gaussian_score,
    trainable,
)

DATA = np.random.default_rng(0).normal(size=(500, 2)) * [0.5, 3.0] + [4.0, -1.0]
MEAN, SD = DATA.mean(0), DATA.std(0)
PREDICTIONS = {
    "noise": PredictNoise(),
    "denoised": PredictDenoised(),
    "velocity": PredictVelocity(),
    "score": PredictScore(),
}


def exact_output(prediction: str, factor: float, finest: float) -> Any:
    """The exact network for data `N(mean, factor sd^2)` in each of the forms, one-dimensional."""

    def network(u: Any, level: Any, y: Any) -> Any:
        a, s = 1 / jnp.sqrt(1 + jnp.exp(2 * level)), 1 / jnp.sqrt(1 + jnp.exp(-2 * level))
        total = factor * a**2 + s**2
        x0, z = factor * a * u / total, s * u / total
        gain = s / jnp.sqrt(s**2 + finest**2)
        return {
            "noise": z / gain,
            "denoised": x0,
            "velocity": (a * z - s * x0) / gain,
            "score": -u / total,
        }[prediction]

    return network


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("finest", [0.0, 0.2])
def test_a_right_network_gives_the_right_score(
    prediction: str, finest: float, noise: Any, x64: None
) -> None:
    data, factor = DATA[:, 1:], 0.3
    model = ScoreNetwork(
        exact_output(prediction, factor, finest),
        noise,
        data,
        prediction=PREDICTIONS[prediction],
        finest=finest,
    )
    oracle = gaussian_score(data.mean(0), factor * data.var(0), noise)
    for t in (0.05, 0.5, 1.0):
        for x in (-4.0, 0.5, 3.0):
            point = jnp.array([x])
            np.testing.assert_allclose(model(point, t), oracle(point, t), rtol=1e-6)
            np.testing.assert_allclose(
                model.denoise(point, t), oracle.denoise(point, t), rtol=1e-5, atol=1e-8
            )


def test_an_untrained_network_is_the_gaussian_of_the_data(noise: Any) -> None:
    model = ScoreNetwork(ResidualMLP(2, rng_key=jax.random.key(0)), noise, DATA)
    oracle = gaussian_score(MEAN, SD**2, noise)
    points = jnp.asarray(DATA[:20], jnp.float32)
    for t in (0.1, 0.5, 1.0):
        np.testing.assert_allclose(
            jax.vmap(model, (0, None))(points, t),
            jax.vmap(oracle, (0, None))(points, t),
            rtol=1e-3,
            atol=1e-4,
        )


def test_velocity_is_the_preconditioning_of_karras_et_al() -> None:
    """`D = c_skip x + c_out F(c_in x, .)` with their coefficients, for centred data of one sd."""
    sd, noise = 0.5, VE(sigma_min=0.002, sigma_max=80.0)
    data = np.array([[-sd], [sd]])
    network = ResidualMLP(1, rng_key=jax.random.key(0))
    network = eqx.tree_at(lambda n: n.last.bias, network, jnp.array([0.7]))
    model = ScoreNetwork(network, noise, data, finest=0.0)
    x = jnp.array([1.3])
    for sigma in (0.01, 0.5, 20.0):
        total = sigma**2 + sd**2
        c_skip, c_out, c_in = sd**2 / total, sigma * sd / np.sqrt(total), total**-0.5
        output = network(c_in * x, jnp.log(jnp.asarray(sigma / sd)))
        np.testing.assert_allclose(
            model.denoise(x, noise.time_of(sigma)), c_skip * x - c_out * output, rtol=2e-4
        )


@pytest.mark.parametrize("finest", [0.0, 0.1])
def test_nothing_blows_up_without_noise(finest: float) -> None:
    """VP has none at t = 0; there the denoised point is the point, and the score stays finite."""
    network = ResidualMLP(2, rng_key=jax.random.key(0))
    network = eqx.tree_at(lambda n: n.last.bias, network, jnp.ones(2))
    model = ScoreNetwork(network, VP(), DATA, finest=finest)
    x = jnp.array([4.0, 1.0])
    assert jnp.isfinite(model(x, 0.0)).all()
    np.testing.assert_allclose(model.denoise(x, 0.0), x, rtol=1e-6)
    assert jnp.isfinite(jax.jacfwd(model)(x, 0.0)).all()


def test_batches_compile_and_precision(noise: Any) -> None:
    network = ResidualMLP(2, width=8, rng_key=jax.random.key(0))
    network = eqx.tree_at(lambda n: n.last.bias, network, jnp.ones(2))
    model = ScoreNetwork(network, noise, DATA)
    points, times = jnp.asarray(DATA[:5], jnp.float32), jnp.linspace(0.1, 1.0, 5)
    one_by_one = jnp.stack([model(x, t) for x, t in zip(points, times, strict=True)])
    batched = jax.jit(lambda m, x, t: jax.vmap(m)(x, t))(model, points, times)
    np.testing.assert_allclose(batched, one_by_one, rtol=1e-4, atol=1e-5)
    assert batched.dtype == jnp.float32
    with jax.enable_x64(True):
        double = ScoreNetwork(network, noise, DATA)(jnp.asarray(DATA[0], jnp.float64), 0.1)
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(double, one_by_one[0], rtol=1e-3)
        single = model(points[0], jnp.float32(0.1))
        assert single.dtype == jnp.float32


def test_training_leaves_the_units_alone() -> None:
    """Even an optimizer that decays weights, and even one that is given every array."""
    model: Any = ScoreNetwork(ResidualMLP(2, width=8, rng_key=jax.random.key(0)), VP(), DATA)
    x = jnp.asarray(DATA[:8], jnp.float32)

    def loss(params: Any, static: Any) -> Any:
        return jnp.mean(jax.vmap(eqx.combine(params, static), (0, None))(x, 0.5) ** 2)

    params, static = eqx.partition(model, trainable(model))
    # two arrays fewer than there are: mean and sd
    everything = eqx.filter(model, eqx.is_inexact_array)
    assert len(jax.tree.leaves(everything)) == len(jax.tree.leaves(params)) + 2
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    updates, _ = optimizer.update(jax.grad(loss)(params, static), optimizer.init(params), params)
    moved = eqx.combine(optax.apply_updates(params, updates), static)
    np.testing.assert_array_equal(moved.units.mean.array, model.units.mean.array)
    assert not np.array_equal(moved.network.last.bias, model.network.last.bias)
    gradient = jax.grad(loss)(everything, eqx.partition(model, eqx.is_inexact_array)[1])
    assert not gradient.units.sd.array.any()
    assert not gradient.units.mean.array.any()


def test_units_per_channel_and_of_constant_coordinates() -> None:
    images = np.random.default_rng(1).normal(size=(50, 2, 4, 4))
    units = Standardisation(images, axis=(0, 2, 3))
    np.testing.assert_allclose(units.sd.array.reshape(-1), images.std((0, 2, 3)), rtol=1e-5)
    assert units.mean.array.shape == (2, 1, 1)
    # a pixel that never changes is known as soon as there is little noise
    data = np.stack([np.full(100, 7.0), np.linspace(-1, 1, 100)], axis=1)
    model = ScoreNetwork(ResidualMLP(2, rng_key=jax.random.key(0)), VP(), data)
    assert abs(float(model.denoise(jnp.array([5.0, 0.0]), 0.5)[0]) - 7.0) < 1e-3
    assert Standardisation(np.ones((5, 2))).sd.array.tolist() == [1.0, 1.0]


def test_static_scores_start_as_the_gaussian_of_the_data() -> None:
    model = StaticScore(ResidualMLP(2, rng_key=jax.random.key(0)), DATA)
    x = jnp.array([3.0, 1.0])
    np.testing.assert_allclose(model(x), -(np.asarray(x) - MEAN) / SD**2, rtol=1e-5)
    assert jnp.isfinite(jax.jacfwd(model)(x)).all()


@pytest.mark.usefixtures("unchecked")
def test_bad_data_and_points_are_refused() -> None:
    network = ResidualMLP(2, rng_key=jax.random.key(0))
    for maker in (lambda d: ScoreNetwork(network, VP(), d), lambda d: StaticScore(network, d)):
        with pytest.raises(ValueError, match=r"data have shape \(0, 2\)"):
            maker(np.zeros((0, 2)))
        with pytest.raises(ValueError, match="1 values that are not finite"):
            maker(np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match="axis of the points"):
        Standardisation(np.zeros((3, 1, 4, 4)), axis=(2, 3))
    with pytest.raises(ValueError, match="finest is -1"):
        ScoreNetwork(network, VP(), finest=-1.0)
    model = ScoreNetwork(network, VP())
    with pytest.raises(ValueError, match=r"shape \(3,\) but the network was made for \(2,\)"):
        model(jnp.zeros(3), 0.5)
    with pytest.raises(ValueError, match=r"takes one point, jax.vmap a batch"):
        model(jnp.zeros((5, 2)), 0.5)
    with pytest.raises(ValueError, match=r"condition has shape \(4,\).*give it y_dim"):
        model(jnp.zeros(2), 0.5, jnp.zeros(4))
