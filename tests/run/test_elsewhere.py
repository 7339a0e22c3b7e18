"""Modes that no chain visited are found from dispersed starts, and one mode is not two."""

from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import numpyro_score as ns
from numpyro_score.diagnostics import quick_check
from numpyro_score.diagnostics.assessment import assess
from numpyro_score.run import alternatives, elsewhere
from numpyro_score.run.elsewhere import _num_comparable, is_elsewhere

KEY = jax.random.key(0)
GIVEN: dict[str, Any] = {"num_chains": 8, "until": 200, "progress": False}


def two_modes(x: Any) -> Any:
    """At -12 and 12 in three dimensions, sd 1."""
    apart = jnp.stack([jnp.sum((x - 12.0) ** 2), jnp.sum((x + 12.0) ** 2)])
    return jax.nn.logsumexp(-0.5 * apart)


START = 12.0 + jax.random.normal(KEY, (8, 3))


def test_where_a_mode_was_not_visited_the_run_restarts_with_jumps(capsys: Any) -> None:
    dt = ns.sample(two_modes, KEY, init_params=START, **GIVEN | {"progress": True})
    told = capsys.readouterr().err
    assert "restarting with GlobalLocal" in told
    assert told.count("no more draws are needed") == 1
    assert "short chains from dispersed starts" in dt.attrs["kernel_choice"]
    # the first run and its search are paid for
    assert dt.attrs["num_grad_given_up"] >= 8 * (300 + 100) + 32 * 101
    assert (dt.attrs["sampler"], dt.attrs["exact"]) == ("GlobalLocal", 1)
    assert (dt.attrs["until_reached"], dt.attrs["num_elsewhere"]) == (1, 0)
    (draws,) = dt.posterior.data_vars.values()
    share = draws.values[..., 0] > 0
    assert abs(share.mean() - 0.5) < 4 * np.sqrt(0.25 / 200)


def test_a_run_that_is_interrupted_while_it_learns_has_the_draws_of_the_first() -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with (
        patch("numpyro_score.infer.global_local.fit_proposal", interrupted),
        pytest.warns(ns.ConvergenceWarning, match="modes that the run lacks"),
        pytest.warns(UserWarning, match=r"restarted with GlobalLocal.*failed \(KeyboardInterrupt"),
    ):
        dt = ns.sample(two_modes, KEY, init_params=START, **GIVEN)
    assert (dt.attrs["sampler"], dt.attrs["until_reached"]) == ("MALA", 1)
    assert dt.posterior.sizes["chain"] == 8


def test_in_too_many_dimensions_for_jumps_a_mode_that_was_not_visited_is_warned_of() -> None:
    with (
        patch.object(alternatives, "MAX_JUMPS", 2),
        pytest.warns(ns.ConvergenceWarning, match=r"short chains.*modes that the run lacks.*Glob"),
    ):
        dt = ns.sample(two_modes, KEY, init_params=START, **GIVEN)
    assert dt.attrs["until_reached"] == 1
    # half of the basins' volume
    assert 6 <= dt.attrs["num_elsewhere"] <= dt.attrs["num_dispersed"] == 32
    # chains from dispersed starts, and those that went on from their ends and from draws
    assert dt.attrs["num_grad_search"] == 32 * 101 + 64 * 201
    assert "elsewhere" in [one.code for one in assess(dt).findings["modes"]]


def test_two_chains_of_nuts_are_warned_of_a_mode_that_they_lack() -> None:
    with pytest.warns(ns.ConvergenceWarning, match="modes that the run lacks"):
        dt = ns.sample(two_modes, KEY, init_params=START[:2], **GIVEN | {"num_chains": 2})
    assert dt.attrs["sampler"] == "NUTS"
    assert dt.attrs["num_elsewhere"] >= 6


def model() -> None:
    scale = numpyro.sample("scale", dist.HalfNormal(2.0))
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(1.0, scale), obs=2.5)


def test_one_mode_is_no_reason_and_a_search_that_fails_costs_no_draws() -> None:
    found = ns.sample(model, KEY, **GIVEN)
    assert found.attrs["num_elsewhere"] == 0
    assert quick_check(found) == []

    def fails(*_: Any) -> Any:
        raise RuntimeError("no memory")

    with (
        patch.object(elsewhere, "run_dispersed_chains", fails),
        pytest.warns(UserWarning, match=r"not looked for.*no memory.*complete"),
    ):
        dt = ns.sample(model, KEY, **GIVEN)
    np.testing.assert_array_equal(dt.posterior["scale"], found.posterior["scale"])
    assert "num_elsewhere" not in dt.attrs


def test_a_tail_that_is_high_at_points_is_no_mode() -> None:
    """A narrow neck in a wide funnel: the draws are in the neck, and a far point is as high."""

    def density(x: Any) -> Any:
        neck = -0.5 * jnp.sum((x / 0.01) ** 2)
        wide = -0.5 * jnp.sum(((x - 50.0) / 0.0001) ** 2)
        return jnp.logaddexp(neck, wide)

    rng = np.random.default_rng(2)
    draws = 0.01 * rng.normal(size=(400, 6))
    height = -0.5 * ((draws / 0.01) ** 2).sum(axis=1)
    ends = np.full((2, 6), 50.0)
    given = density, draws, height, ends, KEY
    # as high, with (1e-2)^6 times the mass: log 27.6 less
    assert is_elsewhere(draws, height, ends, np.zeros(2)).all()
    assert _num_comparable(*given) == 0

    def as_wide(x: Any) -> Any:
        return jnp.logaddexp(density(x), -0.5 * jnp.sum(((x - 50.0) / 0.01) ** 2))

    assert _num_comparable(as_wide, *given[1:]) == 2


def test_ends_count_that_are_far_from_all_draws_and_as_high() -> None:
    rng = np.random.default_rng(0)
    # a thin arc: its middle is near its mean and far from every draw
    angle = rng.uniform(-2.5, 2.5, 400)
    draws = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    draws[:, :2] += 0.01 * rng.normal(size=(400, 2))
    height = rng.normal(size=400)
    ends = np.array([[9.0, 0, 0], [0, -9.0, 0], [0.3, 0, 0], [9.0, 9.0, 0], [np.nan, 0, 0]])
    assert is_elsewhere(draws, height, ends, np.zeros(5)).sum() == 3
    assert is_elsewhere(draws, height, ends, np.array([0.0, -9.0, 0.0, np.nan, 0.0]))[0]
    assert not is_elsewhere(draws, height, ends, np.full(5, -9.0)).any()


@pytest.mark.parametrize("dim", [85, 180])
def test_in_many_dimensions_further_draws_are_not_far(dim: int) -> None:
    """The covariance of 100 or 200 draws fits them far better than others."""
    rng = np.random.default_rng(1)
    draws, ends = rng.normal(size=(200, dim)), rng.normal(size=(32, dim))
    assert not is_elsewhere(draws, np.zeros(200), ends, np.zeros(32)).any()
    assert is_elsewhere(draws, np.zeros(200), ends + 10.0, np.zeros(32)).all()
