"""Order and median of a few numbers: those of NumPy, and the sampler's loop is without a sort."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numpyro_score.adaptation.metric import fisher
from numpyro_score.adaptation.order import MOST_RANKED, ascending, median
from numpyro_score.adaptation.pooled import pooled_warmup


@pytest.mark.parametrize("n", [1, 2, 5, 64, MOST_RANKED + 1])
def test_as_numpy_has_it(n: int) -> None:
    rng = np.random.default_rng(n)
    # with equal values and both infinities
    values = rng.integers(-9, 9, n).astype(np.float32) / 7
    values[n // 2] = -np.inf
    values[n // 3] = np.inf
    both = jax.jit(lambda x: (ascending(x), median(x)))
    np.testing.assert_array_equal(both(values)[0], np.sort(values))
    finite = np.where(np.isfinite(values), values, np.float32(0.5))
    np.testing.assert_array_equal(both(finite)[1], np.median(finite))


def test_a_nan_makes_the_median_nan() -> None:
    assert np.isnan(median(jnp.array([1.0, jnp.nan, 2.0])))


@pytest.mark.parametrize("num_chains", [4, MOST_RANKED])
def test_the_warmup_has_no_sort(num_chains: int) -> None:
    """With one, XLA does not compile the sampler's loop as one function."""
    warmup = pooled_warmup(
        target_acceptance_rate=0.574,
        estimator=fisher,
        is_dense=False,
        adapt_trajectory=True,
        adapt_friction=True,
    )
    x, of_chain = jnp.ones((num_chains, 3)), jnp.ones(num_chains)

    def step(key: Any) -> Any:
        state = warmup.init(x, -x, 0.5, None, 100)
        return warmup.update(state, key, x, -x, of_chain, of_chain, of_chain)

    program = str(jax.make_jaxpr(step)(jax.random.key(0)))
    assert "while" in program or "cond" in program
    assert not re.search(r"\b(sort|scatter)\[", program)
