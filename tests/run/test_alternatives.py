"""What takes the place of the kernel that was chosen first."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.handlers import seed, trace

from numpyro_score.infer import GlobalLocal
from numpyro_score.run.forecast import Seen
from numpyro_score.run.recommend import choose

KEY = jax.random.key(0)


def normals(dim: int) -> None:
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand([dim]).to_event(1))


@pytest.mark.parametrize(("dim", "is_dense"), [(3, True), (150, False)])
def test_a_run_that_can_restart_tries_mala_first(dim: int, is_dense: bool) -> None:
    choice = choose(normals, (dim,), {}, None, may_restart=True)
    *_, longer = choice.otherwise
    *_, each_move = longer.then
    kernels = [choice.kernel, longer.make(), each_move.make()]
    assert [type(kernel).__name__ for kernel in kernels] == ["MALA", "MAMS", "MAMS"]
    assert [kernel.settings["is_dense"] for kernel in kernels] == [is_dense] * 3
    assert choice.reason is not None
    assert choice.reason.startswith("MALA")
    assert longer.reason.endswith("after MALA")
    # one coordinate is too few for MAMS
    *_, each_move = choose(normals, (1,), {}, None, may_restart=True).otherwise
    assert type(each_move.make()).__name__ == "MALA"


def frozen(num_draws: int = 400) -> Seen:
    """A chain of four never moved, and few draws are effective."""
    draws = np.random.default_rng(0).normal(size=(4, num_draws))
    draws[0] = 1.0
    return Seen({"x": draws}, 4, num_draws, 8.0, 400, 4_000)


def hierarchy() -> None:
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.sample("x", dist.Normal(0.0, scale).expand([2]).to_event(1))


def test_a_centered_hierarchy_in_which_chains_freeze_restarts_non_centered() -> None:
    _, anew, slow_anew, longer = choose(hierarchy, (), {}, None, may_restart=True).otherwise
    fault = anew.fault(frozen())
    assert fault == "with x centered a chain stayed at one place for 399 draws"
    kernel: Any = anew.make()
    sites = trace(seed(kernel.model, KEY)).get_trace()
    assert [name for name, site in sites.items() if site["type"] == "sample"] == [
        "scale",
        "x_decentered",
    ]
    assert [other.reason.count("non-centered") for other in anew.then] == [1, 1]
    # slow alone may be a funnel, too; where the other form is slow as well, the model stays
    moving = frozen()._replace(samples={"x": np.random.default_rng(0).normal(size=(4, 400))})
    assert anew.fault(moving) == ""
    assert "with x centered only one draw in" in slow_anew.fault(moving)
    *_, as_it_is = slow_anew.then
    assert as_it_is[:3] == longer[:3]
    # until chains of MAMS freeze in it, which those of MALA had not come to
    back, *rest = as_it_is.then
    assert (back.fault(moving), back.fault(frozen())) == ("", fault)
    assert back.reason == as_it_is.reason.replace(", after", ", non-centered, after")
    assert tuple(rest) == longer.then


def test_a_model_without_a_centered_hierarchy_stays_as_it_is() -> None:
    _, *anew, longer = choose(normals, (3,), {}, None, may_restart=True).otherwise
    assert [other.fault(frozen()) for other in anew] == ["", ""]
    assert longer.fault(frozen())
    # starts that were given are positions of the model as it is
    start = {"scale": jnp.zeros(4), "x": jnp.zeros((4, 2))}
    others = choose(hierarchy, (), {}, start, may_restart=True).otherwise
    assert [other.fault(frozen()) for other in others[1:3]] == ["", ""]


def test_where_there_are_several_modes_jumps_are_learned() -> None:
    """After every kernel, and before anything else; in too many dimensions never."""
    density: Any = SimpleNamespace(num_elements=100)
    lost = frozen()._replace(num_elsewhere=5, density=density)
    jumps, _, again, longer = choose(hierarchy, (), {}, None, may_restart=True).otherwise
    for other in (jumps, again.then[0], longer.then[0], longer.then[-1].then[0]):
        assert "5 short chains" in other.fault(lost)
        assert other.then == ()
    assert isinstance(jumps.make(), GlobalLocal)
    assert jumps.reason.endswith("3 coordinates (up to 128)")
    assert again.then[0].reason.endswith("non-centered")
    others = choose(normals, (129,), {}, None, may_restart=True).otherwise
    assert not any(other.fault(lost._replace(ess=400.0)) for other in others)
