"""When a kernel learns again, of what shape, and where chains start from what it has learned."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from numpyro_score.infer import ParallelTempering
from numpyro_score.infer.preparing import Preparer
from numpyro_score.infer.problem import Problem
from numpyro_score.learned.preparation import Given
from numpyro_score.learned.reference import as_reference, position_of


def learned_from(y: np.ndarray) -> tuple[Any, list[int]]:
    """A preparation that only counts, for a density that reads `y`."""
    learned: list[int] = []

    def prepare(*args: Any) -> Any:
        learned.append(1)
        return object()

    problem = Problem("counter", None, None, lambda x: -0.5 * jnp.sum((x - y) ** 2))
    preparer = Preparer("counter", prepare)

    def run(*args: Any) -> None:
        preparer.run(jax.random.key(0), problem, args, {}, jnp.zeros(3), None)

    return run, learned


def test_values_decide_whether_to_learn_again() -> None:
    data, y = np.zeros(3), np.zeros(3)
    run, learned = learned_from(y)
    box = {"y": [data]}
    run(box)
    run({"y": [np.zeros(3)]})
    assert len(learned) == 1
    data[0] = 1.0
    run(box)
    assert len(learned) == 2
    box["y"].append(data)
    run(box)
    assert len(learned) == 3
    y[:] = 5.0
    run(box)
    assert len(learned) == 4
    run(box)
    assert len(learned) == 4


def test_without_a_model_the_reference_gives_the_shape() -> None:
    def prepare(rng_key: Any, template: Any, *args: Any) -> Any:
        del rng_key, args
        return Given(template)

    problem = Problem("counter", None, None, lambda x: -0.5 * jnp.sum(x**2))
    wide = as_reference(dist.Normal(jnp.ones(3), 2.0).to_event(1))
    preparer = Preparer("counter", prepare, template=position_of(wide))
    preparer.run(jax.random.key(0), problem, (), {}, None, None)
    np.testing.assert_array_equal(preparer.learned, np.zeros(3))
    with pytest.raises(ValueError, match=r"give reference=.* or init_params"):
        Preparer("counter", prepare).run(jax.random.key(0), problem, (), {}, None, None)


def test_chains_of_a_log_density_start_from_particles() -> None:
    """From both modes, with no start given."""

    def logdensity(x: Any) -> Any:
        return jnp.logaddexp(-0.5 * jnp.sum((x - 5) ** 2), -0.5 * jnp.sum((x + 5) ** 2))

    kernel = ParallelTempering(
        logdensity_fn=logdensity,
        num_particles=64,
        reference=dist.Normal(jnp.zeros(1), 6.0).to_event(1),
    )
    state = kernel.init(jax.random.split(jax.random.key(0), 32), 0, None, (), {})
    found = np.asarray(state.z).ravel()
    # each of 32 chains is in the lesser of two equal modes with probability about a half
    assert 6 <= (found > 0).sum() <= 26
    np.testing.assert_allclose(np.abs(found), 5.0, atol=4.5)
