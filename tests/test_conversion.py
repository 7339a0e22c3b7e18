"""Arrays that were changed in place are converted anew, and what cannot be is told."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.conversion import drop_old_conversions
from numpyro_score.fingerprint import fingerprint


def adding(y: Any) -> Any:
    return jax.jit(lambda x: jnp.sum(x + y))


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint64", "complex128", "float32", "int8"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
def test_a_program_traced_later_has_the_new_numbers(dtype: str, shape: tuple[int, ...]) -> None:
    y = np.zeros(shape, dtype)
    # JAX keeps its conversion as long as this function lives
    earlier = adding(y)
    assert earlier(0.0) == 0
    y[...] = 3
    fingerprint({"y": y})
    assert adding(y)(0.0) == 3 * y.size


def test_what_jax_keeps_is_told() -> None:
    y = np.zeros(3)
    kept = jax.make_jaxpr(lambda x: x + y)(0.0)
    y[:] = 3
    with pytest.warns(UserWarning, match="give a copy"):
        drop_old_conversions(y)
    assert kept.consts[0].tolist() == [0, 0, 0]


def test_equal_numbers_drop_nothing(compilations: Any) -> None:
    y = np.array([1.0, np.nan, 1e30])
    doubled = jax.jit(lambda x: 2 * (x + y))
    doubled(jnp.zeros(()))
    count = compilations()
    y[:] = [1.0, np.nan, 1e30]
    drop_old_conversions(y)
    # single precision does not reach so far
    drop_old_conversions(np.array([1e300]))
    doubled(jnp.zeros(()))
    assert compilations() == count
