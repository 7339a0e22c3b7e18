"""Draws are looked at before a density is learned of them."""

from typing import Any

import numpy as np
import pytest
from numpyro.distributions import constraints

from numpyro_score.distributions.values import as_values

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(400, 2))


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (RNG.poisson(4.0, size=(1000, 2)).astype(float), "of 2 of 2 coordinates have only 1"),
        (np.tile(RNG.normal(size=(4, 2)), (100, 1)), "only 4 distinct values among 400"),
        ({"a": NORMAL, "k": RNG.binomial(1, 0.5, 400) + 0.0}, "draws of k have only 2 distinct"),
    ],
)
def test_draws_that_look_discrete_are_said_to(draws: Any, message: str) -> None:
    real: Any = constraints.real
    with pytest.warns(UserWarning, match=message):
        as_values(draws, dict.fromkeys(draws, real) if isinstance(draws, dict) else real)


@pytest.mark.parametrize("num_draws", [50, 100, 400, 5_000])
def test_draws_of_a_chain_that_rejects_most_moves_do_not(num_draws: int) -> None:
    """Warnings are errors."""
    rng = np.random.default_rng(1)
    accepted = np.cumsum(rng.uniform(size=num_draws) < 0.25)
    as_values(rng.normal(size=(num_draws + 1, 2))[accepted], None)
    # as few draws as these tell nothing
    as_values(rng.integers(-2, 2, size=(50, 1)) + 0.0, None)
