"""Any callable is a score: a function, a module of Equinox, a model of Flax."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from numpyro_score.noise import VE, VP
from numpyro_score.scores import (
    FunctionScore,
    GaussianMixtureScore,
    PredictDenoised,
    PredictNoise,
    PredictScore,
    PredictVelocity,
    gaussian_score,
    trainable,
)


def test_each_form_gives_each_other(noise: Any, mixture: GaussianMixtureScore) -> None:
    """The oracle's forms, each wrapped as a function, give the oracle back."""
    forms: dict[Any, Any] = {
        PredictScore(): mixture,
        PredictNoise(): mixture.predict_noise,
        PredictDenoised(): mixture.denoise,
        PredictVelocity(): mixture.predict_velocity,
    }
    x = jnp.array([1.0, -2.0, 0.5])
    for prediction, fn in forms.items():
        model = FunctionScore(fn, noise, prediction)
        for t in (0.3, 0.9):
            for name in ("__call__", "denoise", "predict_noise", "predict_velocity"):
                np.testing.assert_allclose(
                    getattr(model, name)(x, t), getattr(mixture, name)(x, t), rtol=1e-2, atol=1e-3
                )


def test_a_flax_model_works_as_a_score() -> None:
    """Trained by denoising on Gaussian data, a Flax network becomes the score of it."""
    noise = VE(sigma_min=0.1, sigma_max=5.0)

    class Network(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.hidden = nnx.Linear(3, 32, rngs=rngs)
            self.out = nnx.Linear(32, 2, rngs=rngs)

        def __call__(self, x: Any, t: Any) -> Any:
            inputs = jnp.append(x / jnp.sqrt(1 + noise.variance(t)), t)
            return self.out(nnx.gelu(self.hidden(inputs)))

    graph, state = nnx.split(Network(nnx.Rngs(0)))

    def as_model(state: Any) -> FunctionScore:
        return FunctionScore(lambda x, t: nnx.merge(graph, state)(x, t), noise, PredictNoise())

    optimizer = optax.adam(1e-2)

    def loss(state: Any, key: Any) -> Any:
        model, keys = as_model(state), jax.random.split(key, 3)
        x0 = 1.0 + 2.0 * jax.random.normal(keys[0], (256, 2))
        t = jax.random.uniform(keys[1], (256,))
        x, z = jax.vmap(noise.perturb)(jax.random.split(keys[2], 256), x0, t)
        return jnp.mean((jax.vmap(model.predict_noise)(x, t) - z) ** 2)

    @jax.jit
    def train(state: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            state, moments = carry
            updates, moments = optimizer.update(jax.grad(loss)(state, key), moments)
            return (optax.apply_updates(state, updates), moments), None

        keys = jax.random.split(jax.random.key(0), 500)
        return jax.lax.scan(step, (state, optimizer.init(state)), keys)[0][0]

    model = as_model(train(state))
    oracle = gaussian_score(jnp.ones(2), 4.0, noise)
    x = 1.0 + 2.0 * jax.random.normal(jax.random.key(1), (500, 2))
    ours, exact = (jax.jit(jax.vmap(m.denoise, (0, None)))(x, 0.7) for m in (model, oracle))
    untrained = jax.vmap(as_model(state).denoise, (0, None))(x, 0.7)
    assert jnp.mean((ours - exact) ** 2) < 0.02 * jnp.mean((exact - 1) ** 2)
    assert jnp.mean((untrained - exact) ** 2) > 0.5 * jnp.mean((exact - 1) ** 2)


def test_what_is_trained_is_the_function_s() -> None:
    module = eqx.nn.Linear(2, 2, key=jax.random.key(0))
    model = FunctionScore(eqx.nn.Lambda(module), VP())
    parts = eqx.partition(model, trainable(model))[0]
    assert len(jax.tree.leaves(parts)) == 2
    # a function and its parameters, as Flax and Haiku have them
    apply = jax.tree_util.Partial(lambda p, x, t: p["w"] * x, {"w": jnp.ones(2)})
    model = FunctionScore(apply, VP())
    assert [leaf.shape for leaf in jax.tree.leaves(eqx.filter(model, trainable(model)))] == [(2,)]
    np.testing.assert_array_equal(model(jnp.ones(2), 0.5), jnp.ones(2))


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(TypeError, match="fn is a float, which cannot be called"):
        FunctionScore(3.0, VP())  # type: ignore[arg-type]
    model = FunctionScore(lambda x, t: jnp.sum(x), VP())
    with pytest.raises(ValueError, match=r"shape \(\) for a point of shape \(2,\)"):
        model(jnp.zeros(2), 0.5)
