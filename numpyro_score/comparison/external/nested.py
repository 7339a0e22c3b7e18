"""BlackJAX's nested slice sampling, its weighted points resampled to independent draws."""

import time
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.ns.utils import ess, finalise, sample

from numpyro_score.comparison.external.blocks import NOTHING
from numpyro_score.comparison.external.protocol import Drawn, Task
from numpyro_score.compilation import loop_options
from numpyro_score.run.within import BudgetExceededError

NUM_LIVE, NUM_DELETED = 500, 50
"""Live points, and how many of them are replaced at once."""

STEPS_PER_DIMENSION = 3
"""Slice steps between a point and the one that replaces it."""

REMAINING = -3.0
"""Log of the share of the evidence in the live points at which it ends."""

MAX_ROUNDS = 10_000
"""Replacements, at most."""


def nested_slices(task: Task) -> Drawn:
    """Nested sampling by slices along directions of the live points' covariance.

    Skilling, Nested sampling for general Bayesian computation (Bayesian Analysis 1, 2006), as
    `blackjax.nss`. It ends by itself: a budget that it exceeds is an error, what it leaves is left.
    Draws are as many as the effective sample size of its weights.

    Parameters
    ----------
    task
        What to draw; its reference is the prior.

    Raises
    ------
    BudgetExceededError
        If it did not end within the budget.
    """
    prior = task.reference.logdensity_fn
    dim = task.positions.shape[1]
    algorithm = blackjax.nss(
        prior,
        lambda x: task.logdensity_fn(x) - prior(x),
        num_inner_steps=STEPS_PER_DIMENSION * dim,
        num_delete=NUM_DELETED,
    )
    start_key, run_key, draw_key = jax.random.split(task.rng_key, 3)
    points = jax.jit(jax.vmap(task.reference.draw))(jax.random.split(start_key, NUM_LIVE))
    state = jax.jit(algorithm.init)(points)
    began = time.perf_counter()
    step = jax.jit(algorithm.step).lower(run_key, state).compile(loop_options())
    compiling = time.perf_counter() - began
    dead: list[Any] = []
    spent = NOTHING._replace(num_logdensity=float(NUM_LIVE), seconds_compile=compiling)
    began = time.perf_counter()
    for i in range(MAX_ROUNDS):
        state, info = step(jax.random.fold_in(run_key, i), state)
        dead.append(jax.device_get(info))
        spent = spent._replace(
            num_logdensity=spent.num_logdensity + _evaluations(dead[-1].update_info),
            seconds_sampling=time.perf_counter() - began,
        )
        if task.budget is not None and task.budget.of(spent) > task.budget.number:
            raise BudgetExceededError(
                f"the budget of {task.budget} was used up after {i + 1} replacements of nested "
                "sampling, before it ended; give a larger budget"
            )
        if float(state.integrator.logZ_live - state.integrator.logZ) < REMAINING:
            break
    whole = finalise(state, dead)
    num = max(int(ess(draw_key, whole)) // task.num_chains, 1)
    draws = sample(jax.random.fold_in(draw_key, 1), whole, shape=num * task.num_chains)
    flat = np.asarray(jax.tree.leaves(draws.position if hasattr(draws, "position") else draws)[0])
    shape = (task.num_chains, num)
    counts = np.zeros(shape, int)
    # the whole cost, on the first draw of the first chain
    counts[0, 0] = int(spent.num_logdensity)
    return Drawn(flat.reshape(*shape, dim), np.zeros(shape, int), counts, spent)


def _evaluations(info: Any) -> float:
    """Log densities of a round: the ends of each bracket, its expansions and its shrinkages."""
    return float(jnp.sum(info.num_expansions + info.num_shrink + 2))
