"""Algorithms of others in a comparison: what they return, what they cost, and those that ship."""

from typing import Any

import jax
import numpy as np
import pytest

from numpyro_score import Evaluations
from numpyro_score.comparison import compare, external, load_comparison
from numpyro_score.comparison.external import Drawn, ExternalSampler, Task
from numpyro_score.comparison.lookup import find_sampler
from numpyro_score.diagnostics.cost import Costs
from numpyro_score.targets import eight_schools, std_gaussian

KEY = jax.random.key(4)
LENGTHS: dict[str, Any] = {"num_warmup": 100, "num_chains": 4, "progress": False}


def normal(task: Task, sd: float = 1.0) -> Drawn:
    """Independent normal draws, at a gradient each, after a tuning of 50 gradients."""
    num_draws = task.num_samples or 500
    shape = task.num_chains, num_draws
    dim = task.positions.shape[1]
    x = sd * jax.random.normal(task.rng_key, (*shape, dim))
    ones = np.ones(shape, int)
    spent = Costs(float(ones.sum()), 0.0, 50.0, 0.0, 1.0, 0.5, 0.25)
    return Drawn(np.asarray(x), ones, 0 * ones, spent)


def wide(task: Task) -> Drawn:
    return normal(task, 1.2)


def transposed(task: Task) -> Drawn:
    drawn = normal(task)
    return drawn._replace(positions=drawn.positions.swapaxes(1, 2))


def too_dear(task: Task) -> Drawn:
    raise RuntimeError("there is nothing left")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("external") / "cmp.zarr"


SAMPLERS: dict[str, Any] = {
    name: ExternalSampler(fn, is_exact=True)
    for name, fn in {"normal": normal, "wide": wide, "off": transposed, "dear": too_dear}.items()
}


@pytest.fixture(scope="module")
def found(store: Any) -> Any:
    return compare(SAMPLERS, [std_gaussian(2)], KEY, **LENGTHS, num_samples=500, store=store)


def test_its_draws_and_its_costs_are_measured(found: Any) -> None:
    row = found.table.loc["std_gaussian", "normal"]
    assert row.evaluations == 2 * (4 * 500 + 50)
    assert row.training_share == pytest.approx(100 / row.evaluations)
    assert row.seconds_training == 0.5
    assert row.seconds_sampling == 0.25
    assert row.second_moment_error_mcse < 4.5
    assert bool(row.exact)
    assert bool(row.converged)


def test_a_wrong_scale_is_noticed(found: Any) -> None:
    assert found.table.second_moment_error_mcse["std_gaussian", "wide"] > 6


def test_a_failure_and_a_wrong_shape_are_rows(found: Any) -> None:
    failures = found.table.failure["std_gaussian"]
    assert failures["dear"] == "RuntimeError: there is nothing left"
    assert "returned draws of shape (4, 2, 500)" in failures["off"]


def test_it_is_stored_and_not_run_again(found: Any, store: Any) -> None:
    again = load_comparison(store)
    np.testing.assert_array_equal(
        again.runs["std_gaussian", "normal"].posterior.x,
        found.runs["std_gaussian", "normal"].posterior.x,
    )
    samplers = SAMPLERS | {"normal": ExternalSampler(too_dear, is_exact=True)}
    resumed = compare(
        samplers, [std_gaussian(2)], KEY, **LENGTHS, num_samples=500, store=store, resume=True
    )
    assert resumed.table.failure["std_gaussian", "normal"] == ""


def test_it_is_found_by_name() -> None:
    kernel = find_sampler("numpyro_score.comparison.external:blackjax_chees")
    assert isinstance(kernel, ExternalSampler)


def check(name: str, num_chains: int, budget: float) -> Any:
    cmp = compare(
        {name: getattr(external, name)},
        [std_gaussian(3)],
        KEY,
        **(LENGTHS | {"num_chains": num_chains, "num_warmup": 200}),
        budget=Evaluations(budget),
    )
    row = cmp.table.loc["std_gaussian", name]
    assert row.failure == ""
    return row


@pytest.mark.parametrize(
    ("name", "num_chains"),
    [
        pytest.param("blackjax_chees", 8, marks=pytest.mark.slow),
        pytest.param("blackjax_nuts", 4, marks=pytest.mark.slow),
        pytest.param("blackjax_adjusted_mclmc", 4, marks=pytest.mark.slow),
        pytest.param("blackjax_meads", 32, marks=pytest.mark.slow),
    ],
)
def test_exact_ones_pay_for_their_adaptation_and_are_right(name: str, num_chains: int) -> None:
    row = check(name, num_chains, 60_000)
    assert 60_000 <= row.evaluations < 62_000
    assert 0 < row.training_share < 1
    assert row.rhat < 1.02
    assert row.mean_error_mcse < 4.5
    assert row.second_moment_error_mcse < 4.5


@pytest.mark.slow
def test_laps_pays_for_all_its_steps_and_is_right() -> None:
    row = check("blackjax_laps", 32, 300_000)
    # its length is fixed before it is known how long the first phase is
    assert 280_000 <= row.evaluations <= 300_000
    assert 0 < row.training_share < 0.3
    assert row.rhat < 1.02
    assert row.mean_error_mcse < 4.5
    assert row.second_moment_error_mcse < 4.5


@pytest.mark.slow
def test_populations_are_paid_for_and_nearly_right() -> None:
    row = check("blackjax_smc", 4, 1_000_000)
    assert 1_000_000 <= row.evaluations < 1_020_000
    assert not row.exact
    assert row.mean_error_sd < 0.1
    assert row.second_moment_error_sd < 0.1


@pytest.mark.slow
def test_an_approximate_one_says_so() -> None:
    row = check("blackjax_mclmc", 4, 40_000)
    assert not row.exact
    # biased by its step size, which is tuned for a small bias
    assert row.second_moment_error_sd < 0.1


@pytest.mark.slow
def test_nested_sampling_ends_by_itself_and_starts_from_the_prior() -> None:
    row = check("blackjax_nested", 4, 5e6)
    assert row.evaluations < 5e6
    assert row.second_moment_error_mcse < 4.5
    cmp = compare(
        {"nested": external.blackjax_nested},
        [eight_schools()],
        KEY,
        **LENGTHS,
        budget=Evaluations(1e7),
    )
    schools = cmp.table.loc["eight_schools", "nested"]
    assert schools.failure == ""
    assert schools.mean_error_sd < 0.2


@pytest.mark.slow
def test_a_budget_that_adaptation_exceeds_is_a_row_that_says_so() -> None:
    cmp = compare(
        {"nuts": external.blackjax_nuts},
        [std_gaussian(2)],
        KEY,
        **LENGTHS,
        budget=Evaluations(500),
    )
    assert "was used up by adaptation" in cmp.table.failure["std_gaussian", "nuts"]


@pytest.mark.parametrize("name", ["mclmc", "adjusted_mclmc", "laps"])
def test_one_dimension_has_no_directions(name: str) -> None:
    sampler = getattr(external, f"blackjax_{name}")
    found = compare({name: sampler}, [std_gaussian(1)], KEY, **LENGTHS, num_samples=50)
    assert "at least two" in found.table.failure.iloc[0]
