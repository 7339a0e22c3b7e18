"""How many more evaluations a run needs, from chains whose future is known."""

import math
from typing import Any

import arviz as az
import numpy as np
import pytest
import xarray as xr

from numpyro_score.comparison.needed import more_evaluations
from numpyro_score.diagnostics.cost import Costs
from numpyro_score.diagnostics.verdict import judge

RNG = np.random.default_rng(0)
NUM_CHAINS = 8


def autoregressive(rho: float, num_draws: int) -> np.ndarray:
    """Stationary chains, whose effective draws are `(1 - rho) / (1 + rho)` of all."""
    x = np.empty((NUM_CHAINS, num_draws))
    x[:, 0] = RNG.normal(size=NUM_CHAINS)
    noise = RNG.normal(size=x.shape) * math.sqrt(1 - rho**2)
    for i in range(1, num_draws):
        x[:, i] = rho * x[:, i - 1] + noise[:, i]
    return x


def tree(x: np.ndarray) -> xr.DataTree:
    return az.from_dict({"posterior": {"x": x}})


def needed(x: np.ndarray, **spent: Any) -> float:
    dt = tree(x)
    costs = Costs(x.size, 0.0, 50.0, 0.0, 0.0, 0.0, 0.0)
    return more_evaluations(dt, judge(dt), costs._replace(**spent))


def test_a_run_that_mixes_converges_after_about_as_many_as_it_says() -> None:
    rho = 0.9
    # 800 effective draws take 100 a chain, and so 1,900 draws a chain
    num_draws = 600
    whole = 2.0 * NUM_CHAINS * 100 * (1 + rho) / (1 - rho)
    made = 2.0 * NUM_CHAINS * num_draws
    ratios = [(made + needed(autoregressive(rho, num_draws))) / whole for _ in range(10)]
    # the least of bulk and tail, and R-hat too: somewhat more than the bulk alone
    assert 0.7 < np.median(ratios) < 3.0


def test_a_run_that_has_converged_needs_none() -> None:
    assert needed(RNG.normal(size=(NUM_CHAINS, 500))) == 0.0


@pytest.mark.parametrize("kind", ["modes", "stuck", "infinite"])
def test_of_chains_that_do_not_mix_nobody_knows(kind: str) -> None:
    x = RNG.normal(size=(NUM_CHAINS, 400))
    if kind == "modes":
        x[::2] += 10.0
    elif kind == "stuck":
        x[0] = 0.3
    else:
        x[0, 5] = np.inf
    assert needed(x) == math.inf


def test_what_cannot_be_said_is_not() -> None:
    few = RNG.normal(size=(NUM_CHAINS, 30))
    assert math.isnan(needed(few))
    assert math.isnan(needed(RNG.normal(size=(NUM_CHAINS, 80)), num_grad=math.nan))
