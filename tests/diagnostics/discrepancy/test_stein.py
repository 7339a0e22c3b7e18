import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.diagnostics.discrepancy.bootstrap import cut
from numpyro_score.diagnostics.discrepancy.stein import (
    imq_and_linear_stein,
    imq_stein,
    ksd,
    linear_stein,
    whiten,
)

SCALE = jnp.array(0.7)


def from_definition(k, x, s, y, t):
    """`s.t k + s.grad_y k + t.grad_x k + div_x grad_y k` by automatic differentiation."""
    grad_x, grad_y = jax.grad(k, 0)(x, y), jax.grad(k, 1)(x, y)
    mixed = jnp.trace(jax.jacfwd(jax.grad(k, 1), 0)(x, y))
    return s @ t * k(x, y) + s @ grad_y + t @ grad_x + mixed


@pytest.mark.parametrize(
    ("stein", "k"),
    [
        (
            lambda a, b: imq_stein(a, b, SCALE),
            lambda x, y: (SCALE**2 + jnp.sum((x - y) ** 2)) ** -0.5,
        ),
        (linear_stein, lambda x, y: x @ y),
    ],
)
def test_kernels_are_their_definition(x64, stein, k):
    keys = jax.random.split(jax.random.key(0), 4)
    x, s, y, t = (jax.random.normal(key, (3,)) for key in keys)
    found = stein((x[None], s[None]), (y[None], t[None]))[0, 0]
    np.testing.assert_allclose(found, from_definition(k, x, s, y, t), rtol=1e-9)


@pytest.mark.parametrize("num_draws", [50, 1500])
def test_blocks_add_up_to_all_pairs(num_draws):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2 * num_draws, 2)))
    found = ksd(x, -x, cut(2, num_draws, 3.0), rng, scale=0.7, with_moments=True)
    pairs = imq_and_linear_stein((x, -x), (x, -x), SCALE)
    diagonal = float(jnp.trace(pairs))
    num = 2 * num_draws
    np.testing.assert_allclose(found.v, float(pairs.sum()) / num**2, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(
        found.u, (float(pairs.sum()) - diagonal) / (num * (num - 1)), rtol=2e-2, atol=1e-6
    )
    np.testing.assert_allclose(found.expected, diagonal / num**2, rtol=1e-4)


def test_floor_is_what_exact_draws_have():
    rng = np.random.default_rng(1)
    blocks = cut(1, 300, 1.0)
    found = []
    for x in jnp.asarray(rng.normal(size=(25, 300, 2))):
        found.append(ksd(x, -x, blocks, rng))
    v = np.array([one.v for one in found])
    floor = np.mean([one.expected for one in found])
    assert abs(v.mean() - floor) < 4 * v.std() / np.sqrt(25)


def test_p_values_of_exact_draws(ar1):
    """Not too small, with autocorrelation too; without stretches they would be."""
    rng = np.random.default_rng(2)
    p_values, careless = [], []
    for _ in range(25):
        x = jnp.asarray(ar1(rng, 0.8, (2, 4, 300)).transpose(1, 2, 0).reshape(-1, 2))
        p_values.append(ksd(x, -x, cut(4, 300, 9.0), rng).p_value)
        careless.append(ksd(x, -x, cut(4, 300, 1.0), rng).p_value)
    assert np.mean(np.array(p_values) < 0.2) < 0.2 + 4 * np.sqrt(0.2 * 0.8 / 25)
    assert np.mean(np.array(careless) < 0.2) > 0.5


def test_moments_see_a_wrong_variance_sooner():
    """The inverse multiquadric kernel alone has less of it, relative to chance."""
    rng = np.random.default_rng(3)
    x = jnp.asarray(np.sqrt(1.15) * rng.normal(size=(2000, 10)))
    plain, moments = (
        ksd(x, -x, cut(1, 2000, 1.0), rng, with_moments=with_moments)
        for with_moments in (False, True)
    )
    assert moments.p_value < 1e-3
    assert moments.v / moments.expected > plain.v / plain.expected


def test_units_do_not_matter():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1000, 2))
    mix = np.array([[1e3, 0.0], [5.0, 3.0]])
    blocks = cut(1, 1000, 1.0)
    one = ksd(*whiten(x, -x), blocks, np.random.default_rng(0))
    y, scores = x @ mix.T, np.linalg.solve(mix.T, -x.T).T
    other = ksd(*whiten(y, scores), blocks, np.random.default_rng(0))
    np.testing.assert_allclose(one.v, other.v, rtol=0.02)
