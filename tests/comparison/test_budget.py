"""Kernels compared at equal cost."""

from typing import Any

import arviz as az
import jax
import numpy as np
import pytest
from numpyro.infer import NUTS

from numpyro_score import Evaluations, Seconds
from numpyro_score.comparison import compare, load_comparison
from numpyro_score.comparison.thin import thinned
from numpyro_score.diagnostics.cost import costs
from numpyro_score.infer import MALA, RandomWalkMetropolis
from numpyro_score.targets import std_gaussian

KEY = jax.random.key(3)
KERNELS: dict[str, Any] = {"mala": MALA, "rwm": RandomWalkMetropolis}
LENGTHS: dict[str, Any] = {"num_warmup": 50, "num_chains": 4, "progress": False}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("budget") / "cmp.zarr"


@pytest.fixture(scope="module")
def found(store: Any) -> Any:
    return compare(
        KERNELS, [std_gaussian(2)], KEY, **LENGTHS, budget=Evaluations(9000), store=store
    )


def test_each_kernel_costs_what_it_may(found: Any) -> None:
    table = found.table.loc["std_gaussian"]
    assert (table.evaluations >= 9000).all()
    assert (table.evaluations < 9000 + 2 * 4).all()
    assert table.warmup_share["mala"] == pytest.approx(2 * 4 * 50 / table.evaluations["mala"])
    assert table.training_share["mala"] == 0
    # 4 chains, of which a step costs 2 and 1; the first state of a random walk is not counted
    num_draws = {k: dt.posterior.sizes["draw"] for (_, k), dt in found.runs.items()}
    assert num_draws == {"mala": 9000 // 8 - 50, "rwm": 9000 // 4 - 50}


@pytest.mark.slow
def test_a_warmup_that_costs_more_is_a_row_that_says_so() -> None:
    cmp = compare({"mala": MALA}, [std_gaussian(2)], KEY, **LENGTHS, budget=Evaluations(300))
    failure = cmp.table.failure["std_gaussian", "mala"]
    assert "the budget of 300 evaluations was used up in warmup" in failure


@pytest.mark.slow
def test_nuts_gets_as_much(found: Any) -> None:
    cmp = compare({"nuts": NUTS}, [std_gaussian(2)], KEY, **LENGTHS, budget=Evaluations(9000))
    assert 9000 <= cmp.table.evaluations["std_gaussian", "nuts"] < 9400
    assert cmp.runs["std_gaussian", "nuts"].posterior.sizes["draw"] < 1000


def test_it_is_resumed_and_opened_again(found: Any, store: Any) -> None:
    assert load_comparison(store).settings == found.settings
    again = compare(
        KERNELS,
        [std_gaussian(2)],
        KEY,
        **LENGTHS,
        budget=Evaluations(9000),
        store=store,
        resume=True,
    )
    np.testing.assert_array_equal(
        again.runs["std_gaussian", "mala"].posterior.x,
        found.runs["std_gaussian", "mala"].posterior.x,
    )
    with pytest.raises(ValueError, match="holds another comparison"):
        compare(
            KERNELS,
            [std_gaussian(2)],
            KEY,
            **LENGTHS,
            budget=Seconds(1),
            store=store,
            resume=True,
        )


@pytest.mark.usefixtures("unchecked")
def test_a_budget_without_its_unit_is_refused_before_anything_runs() -> None:
    given: Any = 9000
    with pytest.raises(TypeError, match=r"must be Evaluations\(9000\) or Seconds\(9000\)"):
        compare(KERNELS, [std_gaussian(2)], KEY, budget=given)
    with pytest.raises(ValueError, match="does not pay for 500 steps of warmup of 16 chains"):
        compare(KERNELS, [std_gaussian(2)], KEY, budget=Evaluations(8000))


def test_thinning_keeps_costs_and_the_last_of_each_window() -> None:
    x = np.arange(4 * 101, dtype=float).reshape(4, 101)
    stats = {"num_grad": np.ones((4, 101), int), "lp": x}
    dt = az.from_dict({"posterior": {"x": x}, "sample_stats": stats}, attrs={"/": {"thinning": 2}})
    short = thinned(dt, 30)
    np.testing.assert_array_equal(short.posterior.x, x[:, 0::4])
    np.testing.assert_array_equal(short.sample_stats.lp, x[:, 0::4])
    assert costs(short).num_grad == costs(dt).num_grad
    assert short.attrs["thinning"] == 8
    assert thinned(dt, 101) is dt
