"""Running moments against numpy, batch by batch, weights and single precision included."""

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.adaptation.moments import Moments, covariance, empty, update, variance

RNG = np.random.default_rng(0)
NUM_BATCHES, NUM_CHAINS, DIM = 7, 5, 3
DRAWS = RNG.normal(size=(NUM_BATCHES, NUM_CHAINS, DIM)) @ np.array(
    [[1.0, 0.5, 0.0], [0.0, 2.0, 0.3], [0.0, 0.0, 0.1]]
) + np.array([1.0, -2.0, 30.0])

WEIGHTS: dict[str, Any] = {
    "all": np.ones((NUM_BATCHES, NUM_CHAINS)),
    "some": (RNG.uniform(size=(NUM_BATCHES, NUM_CHAINS)) < 0.6).astype(float),
    "a whole batch left out": np.repeat([[1.0], [0.0], [1.0], [1.0], [0.0], [0.0], [1.0]], 5, 1),
    "the first batches left out": np.repeat(
        [[0.0], [0.0], [1.0], [1.0], [1.0], [1.0], [1.0]], 5, 1
    ),
}


def accumulate(draws: Any, weights: Any, *, is_dense: bool) -> Moments:
    def add(moments: Moments, batch: Any) -> tuple[Moments, None]:
        return update(moments, *batch), None

    start = empty(draws.shape[-1], draws.dtype, is_dense=is_dense)
    return jax.jit(lambda d, w: jax.lax.scan(add, start, (d, w))[0])(draws, weights)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("is_dense", [False, True])
def test_moments_are_numpy_s(kind: str, is_dense: bool, x64: None) -> None:
    weights = WEIGHTS[kind]
    # what is left out may be anything
    hidden = np.where(weights[..., None] > 0, DRAWS, np.nan)
    moments = accumulate(jnp.asarray(hidden), jnp.asarray(weights), is_dense=is_dense)
    kept = DRAWS[weights > 0]
    assert float(moments.num_draws) == len(kept)
    np.testing.assert_allclose(moments.mean, kept.mean(axis=0), rtol=1e-12)
    cov = np.cov(kept.T)
    np.testing.assert_allclose(covariance(moments), cov if is_dense else np.diag(cov), rtol=1e-10)
    np.testing.assert_allclose(variance(moments), np.diag(cov), rtol=1e-10)


def test_infinite_rows_of_weight_0_are_left_out() -> None:
    batch = jnp.array([[1.0], [jnp.inf], [3.0], [jnp.nan]])
    moments = update(
        empty(1, jnp.dtype("float32"), is_dense=True), batch, jnp.array([1.0, 0.0, 1.0, 0.0])
    )
    np.testing.assert_allclose(covariance(moments), [[2.0]])


def test_nothing_has_no_variance() -> None:
    nothing = empty(2, jnp.dtype("float32"), is_dense=False)
    for moments in (nothing, update(nothing, jnp.full((3, 2), jnp.nan), jnp.zeros(3))):
        assert float(moments.num_draws) == 0
        np.testing.assert_array_equal(variance(moments), 0)


@pytest.mark.parametrize("is_dense", [False, True])
def test_single_precision_keeps_the_digits_of_a_far_mean(is_dense: bool) -> None:
    """Mean 1e4, sd 1e-2: float32 has a spacing of 1e-3 there, squares would be noise."""
    exact = 1e4 + 1e-2 * np.random.default_rng(1).normal(size=(200, 8, 2))
    rounded = exact.astype(np.float32)
    moments = accumulate(jnp.asarray(rounded), jnp.ones((200, 8)), is_dense=is_dense)
    kept = rounded.reshape(-1, 2).astype(float)  # as it was handed over
    # a batch's mean is rounded to a tenth of an sd, which adds its square
    np.testing.assert_allclose(variance(moments), kept.var(axis=0, ddof=1), rtol=3e-2)
    np.testing.assert_allclose(moments.mean, kept.mean(axis=0), rtol=1e-6)


def test_order_of_batches_does_not_matter(x64: None) -> None:
    pieces = [jnp.asarray(DRAWS[i]) for i in range(NUM_BATCHES)]
    start = empty(DIM, pieces[0].dtype, is_dense=True)
    forth, back = (
        reduce(lambda m, b: update(m, b, jnp.ones(NUM_CHAINS)), order, start)
        for order in (pieces, pieces[::-1])
    )
    np.testing.assert_allclose(covariance(forth), covariance(back), rtol=1e-12)
