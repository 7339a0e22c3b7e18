"""Energies: their scores are gradients, they confine, and kernels take them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_score as ns
from numpyro_score.scores import EnergyNet, EnergyScore, ResidualMLP, gaussian_score

DATA = np.random.default_rng(0).normal(size=(500, 2)) * [0.5, 3.0] + [4.0, -1.0]


def trained_looking(model: Any, scale: float = 0.5) -> Any:
    """The model with every float array moved at random."""
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(arrays)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    moved = [
        leaf + scale * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(tree, moved), rest)


def test_energy_net() -> None:
    model = EnergyNet(2, 16, 2, DATA, rng_key=jax.random.key(0))
    x = jnp.array([3.0, 1.0])
    exact = -(np.asarray(x) - DATA.mean(0)) / DATA.var(0)  # untrained: the data's Gaussian
    np.testing.assert_allclose(model(x), exact, rtol=1e-5)
    moved = eqx.tree_at(lambda m: m.layers, model, trained_looking(model.layers))
    np.testing.assert_allclose(moved(x), -jax.grad(moved.energy)(x), rtol=1e-5)
    assert float(moved.logdensity(x)) == -float(moved.energy(x))
    # far out the Gaussian wins, whatever was learned
    far = DATA.mean(0) + 1e4 * np.array([[1.0, 0.3], [-0.5, 1.0], [-1.0, -1.0]])
    pull = jax.vmap(moved)(jnp.asarray(far, jnp.float32)) * (DATA.mean(0) - far)
    assert (pull.sum(1) > 0).all()


def test_kernels_sample_an_energy(x64: None) -> None:
    """MALA on it leaves its density, known here by quadrature on a line, invariant."""
    model = trained_looking(EnergyNet(1, 8, 2, rng_key=jax.random.key(0)), 1.0)
    model = eqx.tree_at(lambda m: m.units, model, EnergyNet(1, rng_key=jax.random.key(0)).units)
    grid = jnp.linspace(-12, 12, 4001)[:, None]
    density = np.exp(np.asarray(jax.vmap(model.logdensity)(grid), float))
    density /= density.sum()
    mean, second = density @ grid[:, 0], density @ grid[:, 0] ** 2
    n = 4000
    start = jax.random.choice(jax.random.key(1), grid, (n,), p=jnp.asarray(density))
    algorithm = ns.mala(model.logdensity, step_size=0.3)

    @jax.jit
    def run(start: Any) -> Any:
        def one(state: Any, key: Any) -> Any:
            return jax.vmap(algorithm.step)(jax.random.split(key, n), state)

        return jax.lax.scan(
            one, jax.vmap(algorithm.init)(start), jax.random.split(jax.random.key(2), 10)
        )

    state, info = run(start)
    draws = np.asarray(state.position)[:, 0]
    assert info.is_accepted.mean() > 0.3
    assert abs(draws.mean() - mean) < 4.5 * draws.std() / np.sqrt(n)
    assert abs((draws**2).mean() - second) < 4.5 * (draws**2).std() / np.sqrt(n)


@pytest.mark.parametrize("finest", [0.0, 0.1])
def test_energy_score_is_conservative_at_every_level(finest: float, noise: Any, x64: None) -> None:
    network = ResidualMLP(2, 8, rng_key=jax.random.key(0))
    model = EnergyScore(network, noise, DATA, finest=finest)
    oracle = gaussian_score(DATA.mean(0), DATA.var(0), noise)
    moved = eqx.tree_at(lambda m: m.network, model, trained_looking(network))
    x = jnp.array([3.0, 1.0])
    for t in (0.1, 0.9):
        np.testing.assert_allclose(model(x, t), oracle(x, t), rtol=1e-3)
        jacobian = jax.jacfwd(moved)(x, t)
        np.testing.assert_allclose(jacobian, jacobian.T, rtol=1e-6, atol=1e-8)
        assert not np.allclose(moved(x, t), model(x, t))


@pytest.mark.usefixtures("unchecked")
def test_bad_energies_are_refused() -> None:
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="width is 0"):
        EnergyNet(2, width=0, rng_key=key)
    with pytest.raises(ValueError, match="values that are not finite"):
        EnergyNet(2, data=np.array([[0.0, np.inf]]), rng_key=key)
    with pytest.raises(ValueError, match=r"shape \(3,\) but the network was made for \(2,\)"):
        EnergyNet(2, rng_key=key).energy(jnp.zeros(3))
