"""Each network: shapes, conditions, gradients, and that it can learn what it is for."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.noise import VP
from numpyro_score.scores import (
    ConvNet,
    EnergyScore,
    ResidualMLP,
    ScoreNetwork,
    TwoLayer,
    drop_condition,
)
from numpyro_score.scores.conv import Conv

NETWORKS = {
    "two_layer": ((3,), lambda y, k: TwoLayer(3, width=16, y_dim=y, rng_key=k)),
    "residual": ((3,), lambda y, k: ResidualMLP(3, width=16, y_dim=y, rng_key=k)),
    "residual-image": ((1, 4, 4), lambda y, k: ResidualMLP((1, 4, 4), 8, 2, y, rng_key=k)),
    "conv": ((2, 4, 8), lambda y, k: ConvNet((2, 4, 8), width=8, y_dim=y, rng_key=k)),
    "conv-flat": ((1, 5, 7), lambda y, k: ConvNet((1, 5, 7), 8, 0, y, rng_key=k)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def awake(network: Any) -> Any:
    """The network with its small parameters larger, so that every part has a say."""
    arrays, rest = eqx.partition(network, eqx.is_inexact_array)
    arrays = jax.tree.map(lambda a: jnp.where(abs(a) < 1e-4, a + 0.1, a), arrays)
    return eqx.combine(arrays, rest)


@every_network
@pytest.mark.parametrize("y_dim", [0, 4])
def test_shape_level_and_condition(name: str, y_dim: int) -> None:
    shape, make = NETWORKS[name]
    network = awake(make(y_dim, jax.random.key(0)))
    u = jax.random.normal(jax.random.key(1), shape)
    call = jax.jit(lambda u, level, y: network(u, level, y))
    level, y = jnp.array(-1.0), jnp.arange(4.0) if y_dim else None
    base = call(u, level, y)
    assert base.shape == shape
    assert jnp.isfinite(base).all()
    assert not np.allclose(base, call(u + 1, level, y))
    assert not np.allclose(base, call(u, level + 1, y))
    if y_dim:
        missing = call(u, level, None)
        assert not np.allclose(base, missing)
        # a condition of NaN is a missing one, in values and gradients
        nothing = jnp.full(4, jnp.nan)
        np.testing.assert_allclose(call(u, level, nothing), missing, rtol=1e-5, atol=1e-6)
        gradient = jax.grad(lambda u: call(u, level, nothing).sum())(u)
        assert jnp.isfinite(gradient).all()
        assert not np.allclose(missing, call(u, level, jnp.zeros(4)))  # and is not one of zeros


def test_images_may_be_halved_more_than_once() -> None:
    key, level = jax.random.key(0), jnp.zeros(())
    for shape, num_halvings in [((1, 8, 8), 3), ((3, 32, 16), 2)]:
        make = partial(ConvNet, shape, width=8, num_halvings=num_halvings, rng_key=key)
        out = eqx.filter_eval_shape(lambda u, make=make: make()(u, level), jnp.zeros(shape))
        assert out.shape == shape


@every_network
def test_every_parameter_gets_a_gradient(name: str) -> None:
    shape, make = NETWORKS[name]
    network = awake(make(2, jax.random.key(0)))
    u = jax.random.normal(jax.random.key(1), shape)
    weights = jax.random.normal(jax.random.key(2), shape)  # a plain sum, normalised, has none

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(network: Any) -> Any:
        return jnp.sum(weights * network(u, jnp.array(0.3), jnp.ones(2)))

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(network)):
        assert jnp.isfinite(leaf).all(), path
        assert jnp.abs(leaf).max() > 0, path


def test_the_convolution_is_xla_s() -> None:
    for size in (1, 3):
        layer = Conv(3, 5, size, rng_key=jax.random.key(0))
        layer = eqx.tree_at(lambda c: c.bias, layer, jnp.arange(5.0))
        image = jax.random.normal(jax.random.key(1), (3, 6, 4))
        # patches run over places first, channels last
        kernel = layer.weight.reshape(5, size, size, 3).transpose(0, 3, 1, 2)
        expected = jax.lax.conv(image[None], kernel, (1, 1), "SAME")[0] + layer.bias[:, None, None]
        np.testing.assert_allclose(layer(image), expected, rtol=1e-4, atol=1e-5)


@every_network
def test_untrained_networks_as_constants_of_a_program(name: str) -> None:
    """Fused with a sum, constant matrices of equal numbers would give garbage."""
    shape, make = NETWORKS[name]
    network: Any = make(0, jax.random.key(0))
    for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array)):
        assert leaf.ndim < 2 or jnp.ptp(leaf) > 0
    u = jax.random.normal(jax.random.key(1), (300, *shape))
    bare = jax.jit(lambda u: jnp.sum((jax.vmap(lambda u: network(u, jnp.array(0.3)))(u) - u) ** 2))
    outside = jax.vmap(network, (0, None))(u, jnp.array(0.3))
    np.testing.assert_allclose(bare(u), jnp.sum((outside - u) ** 2), rtol=1e-3)


def test_dropped_conditions_teach_both_scores() -> None:
    """Least squares for `y`'s sign: given, the network tells it; without, it says the mean."""
    network = ResidualMLP(1, width=16, depth=1, y_dim=1, rng_key=jax.random.key(0))
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def loss(params: Any, key: Any) -> Any:
        key_y, key_drop = jax.random.split(key)
        y = jax.random.bernoulli(key_y, 0.8, (256, 1)) * 2.0 - 1
        seen = jax.vmap(drop_condition, (0, 0, None))(jax.random.split(key_drop, 256), y, 0.3)
        model = eqx.combine(params, static)
        out = jax.vmap(lambda y: model(jnp.zeros(1), jnp.zeros(()), y))(seen)
        return jnp.mean((out - y) ** 2)

    @jax.jit
    def train(params: Any) -> Any:
        def step(params: Any, key: Any) -> Any:
            gradient = jax.grad(loss)(params, key)
            return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient), None

        return jax.lax.scan(step, params, jax.random.split(jax.random.key(1), 1000))[0]

    model = eqx.combine(train(params), static)
    given = [float(model(jnp.zeros(1), jnp.zeros(()), jnp.array([y]))[0]) for y in (-1.0, 1.0)]
    np.testing.assert_allclose(given, [-1.0, 1.0], atol=0.05)
    assert abs(float(model(jnp.zeros(1), jnp.zeros(()), None)[0]) - 0.6) < 0.1


def test_conditional_models_are_conditional_in_every_form() -> None:
    network = awake(ResidualMLP(2, width=8, y_dim=3, rng_key=jax.random.key(0)))
    x, y = jnp.ones(2), jnp.array([1.0, 0.0, 0.0])
    for model in (ScoreNetwork(network, VP()), EnergyScore(network, VP())):
        for form in (model, model.denoise, model.predict_noise, model.predict_velocity):
            assert not np.allclose(form(x, 0.5), form(x, 0.5, y))
    batch = jax.vmap(model, (None, None, 0))(x, 0.5, jnp.eye(3))
    assert batch.shape == (3, 2)


@pytest.mark.usefixtures("unchecked")
def test_bad_sizes_are_refused() -> None:
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="width is 0"):
        TwoLayer(2, width=0, rng_key=key)
    with pytest.raises(ValueError, match="depth is 0"):
        ResidualMLP(2, depth=0, rng_key=key)
    with pytest.raises(ValueError, match="size 1 of the shape is 0"):
        ResidualMLP((3, 0), rng_key=key)
    with pytest.raises(ValueError, match="y_dim is -1"):
        ResidualMLP(2, y_dim=-1, rng_key=key)
    with pytest.raises(ValueError, match="8 x 6 pixels cannot be halved 2 times"):
        ConvNet((1, 8, 6), num_halvings=2, rng_key=key)
    with pytest.raises(ValueError, match="multiple of 8"):
        ConvNet((1, 8, 8), width=12, rng_key=key)
    network = ConvNet((1, 8, 8), width=8, rng_key=key)
    with pytest.raises(
        ValueError, match=r"shape \(8, 8\) but the network was made for \(1, 8, 8\)"
    ):
        network(jnp.zeros((8, 8)), jnp.zeros(()))
