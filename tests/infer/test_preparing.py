"""A kernel learns again when its data or its density differ from those that it learned from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from numpyro_score.infer.preparing import Preparer
from numpyro_score.infer.problem import Problem


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
