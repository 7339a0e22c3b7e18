"""Runs within a budget: they end with the draw that reaches it, whatever the chunks."""

from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import NUTS, SA

import numpyro_score as ns
from numpyro_score.diagnostics.cost import GRADIENT_COST, costs
from numpyro_score.run import within
from numpyro_score.run.budget import MAX_DRAWS
from numpyro_score.run.within import BudgetExceededError

KEY = jax.random.key(0)
LENGTHS: dict[str, Any] = {
    "num_warmup": 60,
    "num_chains": 4,
    "model_args": (2,),
    "progress": False,
}


def normals(dim: int) -> None:
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([dim]).to_event(1))


MALA = ns.MALA(normals)


@pytest.fixture(scope="module")
def run() -> Any:
    return ns.sample(MALA, KEY, **LENGTHS, until=ns.Evaluations(10_003))


def test_a_run_ends_with_the_draw_that_reaches_the_budget(run: Any) -> None:
    spent = costs(run)
    step = 4 * GRADIENT_COST
    assert 10_003 <= spent.evaluations < 10_003 + step
    assert spent.num_grad_warmup == 4 * 60
    assert (run.attrs["budget"], run.attrs["budget_reached"]) == ("10,003 evaluations", 1)
    assert run.attrs["complete"] == 1


@pytest.mark.slow
def test_its_draws_are_those_of_a_run_of_that_length(run: Any) -> None:
    num_draws = run.posterior.sizes["draw"]
    whole = ns.sample(MALA, KEY, **LENGTHS, num_samples=num_draws)
    np.testing.assert_array_equal(run.posterior["x"], whole.posterior["x"])


def test_a_warmup_that_uses_it_up_says_how_far_it_came() -> None:
    with pytest.raises(BudgetExceededError, match=r"warmup, after \d+ of 60 steps; give a larger"):
        ns.sample(MALA, KEY, **LENGTHS, until=ns.Evaluations(300))


@pytest.mark.slow
def test_a_kernel_with_trajectories_ends_with_the_draw_that_reaches_it_too() -> None:
    limit = ns.Evaluations(20_000)
    kernel = NUTS(normals)
    dt = ns.sample(kernel, KEY, **LENGTHS, until=limit)
    stats = dt["sample_stats"]
    spent = costs(dt)
    last = GRADIENT_COST * int(stats["num_grad"].isel(draw=-1).sum())
    assert spent.evaluations >= 20_000 > spent.evaluations - last


@pytest.mark.slow
def test_thinned_draws_count_all_their_steps() -> None:
    dt = ns.sample(MALA, KEY, **LENGTHS, thinning=3, until=ns.Evaluations(10_000))
    assert 10_000 <= costs(dt).evaluations < 10_000 + 3 * 4 * GRADIENT_COST
    assert np.isfinite(dt.posterior["x"].values).all()


@pytest.mark.slow
def test_seconds_end_it_too() -> None:
    dt = ns.sample(MALA, KEY, **LENGTHS, until=ns.Seconds(0.3))
    assert costs(dt).seconds >= 0.3
    assert dt.attrs["budget_reached"] == 1
    assert dt.posterior.sizes["draw"] < MAX_DRAWS


def test_a_limit_of_draws_is_kept() -> None:
    dt = ns.sample(MALA, KEY, **LENGTHS, num_samples=120, until=ns.Evaluations(10_000))
    assert dt.posterior.sizes["draw"] == 120
    assert dt.attrs["budget_reached"] == 0


def test_an_interrupted_run_is_resumed_to_the_same_draw(
    run: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = within.Within.cut

    def interrupted(self: Any, chunk: Any, seconds: float) -> Any:
        if chunk.first > 200:
            raise KeyboardInterrupt
        return cut(self, chunk, seconds)

    stored: dict[str, Any] = {**LENGTHS, "store": tmp_path / "run.zarr"}
    with monkeypatch.context() as patch:
        patch.setattr(within.Within, "cut", interrupted)
        part = ns.sample(MALA, KEY, **stored, until=ns.Evaluations(10_003))
    assert part.attrs["complete"] == 0
    assert part.posterior.sizes["draw"] < run.posterior.sizes["draw"]
    again = ns.sample(MALA, KEY, **stored, until=ns.Evaluations(10_003), resume=True)
    assert again.attrs["complete"] == 1
    np.testing.assert_array_equal(again.posterior["x"], run.posterior["x"])


def test_a_budget_that_leaves_out_warmup_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def left(self: Any) -> float:
        free = self._spent._replace(num_grad_warmup=0.0)
        return self._budget.number - self._budget.of(free)

    monkeypatch.setattr(within.Within, "left", property(left))
    dt = ns.sample(MALA, KEY, **LENGTHS, until=ns.Evaluations(10_003))
    assert costs(dt).evaluations > 10_003 + 4 * GRADIENT_COST


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_used_is_refused_before_it_is_compiled() -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        ns.Evaluations(-1)
    with pytest.raises(TypeError, match="real number"):
        ns.Seconds("10")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not pay for 60 steps of warmup of 4 chains"):
        ns.sample(MALA, KEY, **LENGTHS, until=ns.Evaluations(240))
    options: dict[str, Any] = {**LENGTHS, "store": "a.zarr", "resume": True}
    with pytest.raises(ValueError, match="Seconds cannot be used in a run that is resumed"):
        ns.sample(MALA, KEY, **options, until=ns.Seconds(1))
    with pytest.raises(ValueError, match="needs keep_warmup=True"):
        ns.sample(MALA, KEY, **options, until=ns.Evaluations(1e4), keep_warmup=False)
    with pytest.raises(ValueError, match="SA does not report its evaluations"):
        within.Within(ns.Evaluations(1e4), SA(normals), ("z", "potential_energy"), 1, 60, {})
