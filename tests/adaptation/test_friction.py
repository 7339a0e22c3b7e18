"""The friction that warmup learns is one over the root of the largest whitened variance."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.adaptation.friction import (
    START,
    close_friction,
    record_friction,
    start_friction,
)
from numpyro_score.preconditioner import as_preconditioner

DIM, NUM_STEPS = 20, 50
LARGEST = 12.0
# the wide direction is along no coordinate, and all variances of coordinates are alike
DIRECTION = np.ones(DIM) / np.sqrt(DIM)
COVARIANCE = np.eye(DIM) + (LARGEST - 1) * np.outer(DIRECTION, DIRECTION)


def found(num_chains: int, num_windows: int, *, is_dense: bool, scale: float) -> float:
    """Friction after windows of exact draws of covariance `scale^2 COVARIANCE`."""
    units = jnp.full(DIM, scale**2)
    preconditioner = as_preconditioner(jnp.diag(units) if is_dense else units)
    assert preconditioner is not None
    root = jnp.asarray(scale * np.linalg.cholesky(COVARIANCE))

    def draw(key: Any) -> Any:
        return 3.0 + jax.random.normal(key, (num_chains, DIM)) @ root.T

    @jax.jit
    def window(search: Any, key: Any, since: Any) -> Any:
        positions = jax.vmap(draw)(jax.random.split(key, NUM_STEPS))
        search = jax.lax.scan(
            lambda s, x: (record_friction(s, x, jnp.ones(num_chains)), None), search, positions
        )[0]
        return close_friction(search, positions[-1], preconditioner, since)

    search = start_friction(draw(jax.random.key(9)))
    for i, key in enumerate(jax.random.split(jax.random.key(0), num_windows)):
        search = window(search, key, jnp.array(NUM_STEPS * i))
    return float(search.friction)


@pytest.mark.parametrize(
    "is_dense", [pytest.param(False, marks=pytest.mark.slow), True], ids=["diagonal", "dense"]
)
def test_many_chains_find_it_in_two_windows(is_dense: bool) -> None:
    friction = found(64, 3, is_dense=is_dense, scale=100.0)
    # a variance of 3,200 draws has a relative error of .025
    assert friction == pytest.approx(LARGEST**-0.5, rel=0.06)


@pytest.mark.slow
def test_one_chain_finds_it_in_some() -> None:
    assert found(1, 8, is_dense=False, scale=0.01) == pytest.approx(LARGEST**-0.5, rel=0.4)


def test_the_opening_keeps_the_start() -> None:
    assert found(4, 1, is_dense=False, scale=1.0) == START


def test_a_window_without_draws_keeps_what_was_found() -> None:
    position = jnp.ones((3, 2))
    search = start_friction(position)._replace(friction=jnp.asarray(0.3))
    search = record_friction(search, jnp.full((3, 2), jnp.nan), jnp.zeros(3))
    matrix = as_preconditioner(jnp.ones(2))
    assert matrix is not None
    new = close_friction(search, position, matrix, jnp.array(5))
    assert float(new.friction) == pytest.approx(0.3)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(new))
