"""A batch shared by several devices: the same training, to rounding."""

import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest

from numpyro_score.training import fit
from numpyro_score.training.losses import implicit_score_matching

CODE = """
import warnings
warnings.simplefilter("error")
import equinox as eqx, jax, jax.numpy as jnp, numpy as np, tempfile
from numpyro_score.training import fit

assert jax.device_count() == 4
data = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
model = eqx.nn.MLP(2, 2, 16, 1, jnp.tanh, key=jax.random.key(0))
shards = []

def loss(model, batch, rng_key):
    noised = batch + jax.random.normal(rng_key, batch.shape)
    return jnp.mean((jax.vmap(model)(noised) - batch) ** 2)

def looking(model, batch, rng_key):
    jax.debug.inspect_array_sharding(
        batch, callback=lambda s: shards.append(s.shard_shape(batch.shape))
    )
    return loss(model, batch, rng_key)

def train(loss, **settings):
    settings = {"num_steps": 60, "batch_size": 64, "progress": False} | settings
    return fit(model, data, loss, rng_key=jax.random.key(1), **settings)

alone = train(loss)
mesh = jax.make_mesh((4,), ("batch",))
with tempfile.TemporaryDirectory() as folder:
    shared = train(looking, mesh=mesh, checkpoint=folder)
    again = train(looking, mesh=mesh, checkpoint=folder)
assert eqx.tree_equal(shared.model, again.model)
assert (16, 2) in shards, shards
parts = [eqx.filter(result.model, eqx.is_array) for result in (alone, shared)]
for one, other in zip(*map(jax.tree.leaves, parts)):
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)
two = train(loss, mesh=jax.make_mesh((2, 2), ("a", "b")))
np.testing.assert_allclose(two.history.train_loss, alone.history.train_loss, rtol=1e-3)
try:
    train(loss, mesh=mesh, batch_size=62)
except ValueError as error:
    assert "multiple of 4" in str(error)
else:
    raise AssertionError
print("all is well")
"""


@pytest.mark.slow
def test_four_devices(child_env: dict[str, str]) -> None:
    env = child_env | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    code = textwrap.dedent(CODE)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300
    )
    assert "all is well" in done.stdout, done.stderr


def test_one_device_is_a_mesh_too() -> None:
    data = np.random.default_rng(0).normal(size=(50, 1))
    model = jax.tree_util.Partial(lambda w, x: w * x, jax.numpy.zeros(()))
    mesh = jax.make_mesh((1,), ("batch",))
    fitted, _ = fit(
        model,
        data,
        implicit_score_matching,
        rng_key=jax.random.key(0),
        num_steps=5,
        mesh=mesh,
        progress=False,
    )
    assert fitted.args[0] != 0


@pytest.mark.usefixtures("unchecked")
def test_a_mesh_that_is_none() -> None:
    model = jax.tree_util.Partial(lambda w, x: w * x, jax.numpy.zeros(()))
    with pytest.raises(TypeError, match="mesh is a str"):
        fit(
            model,
            np.zeros((5, 1)),
            implicit_score_matching,
            rng_key=jax.random.key(0),
            validation_fraction=0.0,
            mesh="cpu",  # type: ignore[arg-type]
        )
