"""BlackJAX's late adjusted parallel sampler: an ensemble without Metropolis-Hastings, then with.

Robnik and Seljak, Late adjusted parallel sampler (arXiv:2601.16696), as `blackjax.adaptation.laps`:
all chains take microcanonical steps and tune them together until their moments stand still, then
follow adjusted trajectories, whose step size is found by bisection. Its makers keep the last
position of thousands of chains; with few chains here, the adjusted draws since the step size was
fixed are returned.
"""

import time
from typing import Any
from unittest.mock import patch

import blackjax.eca
import jax
import numpy as np
from blackjax.adaptation.laps import laps
from jaxtyping import Array, Float

from numpyro_score.comparison.external.blocks import NOTHING
from numpyro_score.comparison.external.protocol import Drawn, Task, check_directions
from numpyro_score.compilation import loop_options
from numpyro_score.run.within import BudgetExceededError
from numpyro_score.types import RngKey

STEPS = 15
"""Integration steps of an adjusted trajectory, BlackJAX's default."""

GRADIENTS, MANY_DIMENSIONS, GRADIENTS_MANY = 2, 200, 5
"""Of an integration step: McLachlan's, and Omelyan's in more than so many dimensions."""

AXIS = "chains"
"""Name of the axis of chains in BlackJAX's program."""

RADIUS = 2.0
"""Chains start uniformly in `(-2, 2)` of every coordinate, as NumPyro's do."""


def late_adjusted(task: Task) -> Drawn:
    """Late adjusted parallel sampling; `num_warmup` limits the steps before the adjusted phase.

    The time that it takes includes compilation.

    Parameters
    ----------
    task
        What to draw; at least two dimensions.

    Raises
    ------
    ValueError
        If the target has one dimension.
    BudgetExceededError
        If the budget leaves no adjusted trajectory after the steps before.
    RuntimeError
        If the step size was not fixed at the end.
    """
    check_directions(task)
    num_chains, dim = task.positions.shape
    gradients = STEPS * (GRADIENTS_MANY if dim > MANY_DIMENSIONS else GRADIENTS)
    num = _num_trajectories(task, gradients)
    began = time.perf_counter()

    def start(key: RngKey) -> Float[Array, " dim"]:
        return jax.random.uniform(key, (dim,), minval=-RADIUS, maxval=RADIUS)

    # outside of jit its programs run operation by operation, and fail on densities that were
    # compiled before
    with patch.object(blackjax.eca, "shard_map", _compiled_shard_map):
        info, _, _, _ = laps(
            task.logdensity_fn,
            start,
            dim,
            task.num_warmup,
            gradients * num,
            num_chains,
            jax.sharding.Mesh(np.array(jax.devices()[:1]), AXIS),
            task.rng_key,
            steps_per_sample=STEPS,
            # over one device the sum is the position, and known to be the same everywhere
            all_chains_info=lambda x: jax.lax.psum(x, AXIS),
        )
    positions = np.asarray(info["phase_2"]["all_chains_info"]).swapaxes(0, 1)
    seconds = time.perf_counter() - began
    # the step size with which each trajectory was made
    sizes = np.asarray(info["phase_2"]["step_size"])
    changes = np.flatnonzero(np.diff(sizes))
    first = int(changes[-1]) + 1 if len(changes) else 0
    if first >= num - 1:
        raise RuntimeError(
            f"the step size was not fixed after {num} adjusted trajectories; give more draws or a "
            "larger budget"
        )
    num_unadjusted = len(np.asarray(info["phase_1"]["step_size"]))
    counts = np.full((num_chains, num - first), gradients)
    share = (num - first) / num
    spent = NOTHING._replace(
        num_grad=float(counts.sum()),
        # one gradient a step, that of the start, and a first step that is made twice
        num_grad_warmup=float(num_chains * (2 + num_unadjusted + gradients * first)),
        seconds_warmup=(1 - share) * seconds,
        seconds_sampling=share * seconds,
    )
    return Drawn(positions[:, first:], counts, 0 * counts, spent)


def _compiled_shard_map(*args: Any, **kwargs: Any) -> Any:
    return jax.jit(jax.shard_map(*args, **kwargs), compiler_options=loop_options())


def _num_trajectories(task: Task, gradients: int) -> int:
    """How many are asked for, or paid for after all steps of the first phase."""
    num = task.num_samples
    budget = task.budget
    if budget is None:
        assert num is not None
        return 2 * num
    cost = budget.of(NOTHING._replace(num_grad=1.0))
    if not cost:
        raise ValueError("LAPS has a fixed length, which a budget of seconds does not give")
    rest = budget.number - cost * task.num_chains * (2 + task.num_warmup)
    found = int(rest // (cost * task.num_chains * gradients))
    if found < 2:
        raise BudgetExceededError(
            f"the budget of {budget} leaves no adjusted trajectory after {task.num_warmup} steps "
            "of the first phase; give a larger budget or fewer steps"
        )
    return found if num is None else min(found, 2 * num)
