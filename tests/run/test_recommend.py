"""The kernel that is chosen for a model or a log density."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.handlers import seed, trace
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score.run.budget import Evaluations
from numpyro_score.run.recommend import can_restart, choose

KEY = jax.random.key(0)


def normals(dim: int) -> None:
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([dim]).to_event(1))


def hierarchy() -> None:
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.sample("x", dist.Normal(0.0, scale).expand([2]).to_event(1))


def logdensity(position: Any) -> Any:
    return -0.5 * jnp.sum(position["a"] ** 2) - jnp.abs(position["b"])


@pytest.mark.parametrize(
    ("dim", "kind", "is_dense"), [(1, "MALA", False), (3, "MAMS", True), (150, "MAMS", False)]
)
def test_the_kernel_follows_from_the_number_of_coordinates(
    dim: int, kind: str, is_dense: bool
) -> None:
    choice = choose(normals, (dim,), {}, None)
    assert type(choice.kernel).__name__ == kind
    assert choice.kernel.settings["is_dense"] == is_dense
    # what the run says, for its warnings to tell
    assert choice.attributes["kernel_is_bound"] == 1
    assert choice.reason is not None
    assert choice.reason.startswith(kind)


def test_few_chains_cannot_pool_their_warmup() -> None:
    assert type(choose(normals, (3,), {}, None, 4).kernel).__name__ == "MAMS"
    choice = choose(normals, (3,), {}, None, 3)
    assert (type(choice.kernel), choice.num_warmup, choice.otherwise) == (NUTS, 500, ())
    assert choice.reason is not None
    assert "fewer than 4 chains" in choice.reason
    # a chain that has not entered the neck of a funnel does not show it
    choice = choose(hierarchy, (), {}, None, 1)
    assert choice.reason is not None
    assert choice.reason.startswith("NUTS, with x non-centered: fewer than 4")
    assert "x_decentered" in trace(seed(choice.kernel.model, KEY)).get_trace()
    start = {"a": jnp.array([[1.0, 2.0]]), "b": jnp.array([-3.0])}
    kernel: Any = choose(logdensity, (), {}, start, 1).kernel
    # a potential is minus a log density
    assert float(kernel._potential_fn({"a": start["a"][0], "b": start["b"][0]})) == 5.5


def test_a_log_density_is_told_from_a_model_and_a_kernel_is_left_alone() -> None:
    start = {"a": jnp.zeros((4, 2)), "b": jnp.zeros(4)}
    choice = choose(logdensity, (), {}, start)
    assert choice.kernel.model is None
    assert choice.reason is not None
    assert "3 coordinates" in choice.reason

    def model() -> None:
        numpyro.sample("a", dist.Normal(0.0, 1.0).expand([2]).to_event(1))

    assert choose(model, (), {}, {"a": jnp.zeros((4, 2))}).kernel.model is not None
    kernel = ns.MALA(model)
    assert choose(kernel, (), {}, None)[:2] == (kernel, None)


def test_which_runs_can_restart() -> None:
    assert can_restart(None, None, None)
    assert can_restart(400, 1000, "run.nc")
    assert not can_restart(None, 1000, None)
    assert not can_restart(Evaluations(1000), None, None)
    assert not can_restart(400, None, "run.zarr")


def test_a_model_without_coordinates_is_refused() -> None:
    def constant() -> None:
        numpyro.deterministic("x", jnp.ones(2))

    with pytest.raises(ValueError, match="no unconstrained coordinate"):
        choose(constant, (), {}, None)
    with pytest.raises(ValueError, match="no unconstrained coordinate"):
        choose(normals, (0,), {}, None)


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(TypeError, match="the key is the second argument"):
        choose(KEY, (), {}, None)
    with pytest.raises(TypeError, match="kernel is 3"):
        choose(3, (), {}, None)
    with pytest.raises(TypeError, match="MALA"):
        choose(ns.MALA, (), {}, None)
