"""What a gradient costs, counted in elements."""

from typing import Any

import jax
import jax.numpy as jnp

from numpyro_score.run.elements import num_elements

X = jnp.ones(100)


def squares(x: Any) -> Any:
    return -jnp.sum(x**2)


def test_loops_count_as_often_as_they_run() -> None:
    def looped(x: Any) -> Any:
        return jax.lax.fori_loop(0, 50, lambda _, total: total + squares(x), jnp.zeros(()))

    once, often = num_elements(squares, X), num_elements(looped, X)
    assert 30 * once < often < 60 * once
    assert once >= 200


def test_programs_within_programs_count() -> None:
    assert num_elements(jax.jit(squares), X) >= num_elements(squares, X)
    mapped = num_elements(lambda x: jax.vmap(squares)(x).sum(), jnp.ones((7, 100)))
    assert mapped > 6 * num_elements(squares, X)
