"""Draws of an adapted algorithm in compiled blocks, until they or the budget suffice."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from numpyro_score.comparison.external.protocol import Drawn, Task
from numpyro_score.compilation import loop_options
from numpyro_score.diagnostics.cost import GRADIENT_COST, Costs
from numpyro_score.run.budget import Evaluations
from numpyro_score.run.within import BudgetExceededError
from numpyro_score.types import RngKey

BLOCK = 50
"""Draws of each chain in a block."""

NOTHING = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""No cost."""


class Stepped(NamedTuple):
    """What a step of all chains says.

    Attributes
    ----------
    positions
        The draws.
    num_grad
        Gradients of each chain.
    """

    positions: Float[Array, "chain dim"]
    num_grad: Int[Array, " chain"]


class Timed(NamedTuple):
    """A result, and the seconds that it took to compute and to compile it."""

    result: Any
    seconds: float
    seconds_compile: float


def timed(fn: Callable[..., Any], *args: Any) -> Timed:
    """Compile a function, then call it.

    Parameters
    ----------
    fn
        What `jax.jit` can compile.
    args
        Its arguments.
    """
    began = time.perf_counter()
    compiled = jax.jit(fn).lower(*args).compile(loop_options())
    ready = time.perf_counter()
    result = jax.block_until_ready(compiled(*args))
    return Timed(result, time.perf_counter() - ready, ready - began)


def draw_blocks(
    task: Task,
    rng_key: RngKey,
    step: Callable[[RngKey, Any], tuple[Any, Stepped]],
    states: Any,
    spent: Costs,
) -> Drawn:
    """Draw with an adapted kernel.

    Parameters
    ----------
    task
        How many draws, or what they may cost.
    rng_key
        One key.
    step
        Random key and states of all chains -> the states after a step, and what it says.
    states
        After the adaptation.
    spent
        What the adaptation cost.

    Raises
    ------
    BudgetExceededError
        If the adaptation has used up the budget.
    """
    budget = task.budget
    if budget is not None and budget.of(spent) >= budget.number:
        raise BudgetExceededError(
            f"the budget of {budget} was used up by adaptation, which cost "
            f"{spent.evaluations:,.0f} evaluations; give a larger budget or fewer steps of warmup"
        )
    most = task.num_samples or (budget and budget.max_draws(task.num_chains)) or BLOCK

    def block(rng_key: RngKey, states: Any) -> tuple[Any, Stepped]:
        keys = jax.random.split(rng_key, BLOCK)
        return jax.lax.scan(lambda states, key: step(key, states), states, keys)

    began = time.perf_counter()
    compiled = jax.jit(block).lower(rng_key, states).compile(loop_options())
    spent = spent._replace(seconds_compile=spent.seconds_compile + time.perf_counter() - began)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    made = 0
    while made < most and (budget is None or budget.of(spent) < budget.number):
        began = time.perf_counter()
        states, said = compiled(jax.random.fold_in(rng_key, made), states)
        positions, num_grad = jax.device_get(said)
        seconds = time.perf_counter() - began
        rows = min(BLOCK, most - made)
        if isinstance(budget, Evaluations):
            costs = np.cumsum(GRADIENT_COST * num_grad.sum(axis=1), dtype=np.float64)
            rows = min(int(np.searchsorted(costs, budget.number - spent.evaluations)) + 1, rows)
        parts.append((positions[:rows], num_grad[:rows]))
        spent = spent._replace(
            num_grad=spent.num_grad + float(num_grad[:rows].sum()),
            seconds_sampling=spent.seconds_sampling + seconds * rows / BLOCK,
        )
        made += rows
    positions, num_grad = (np.concatenate(each).swapaxes(0, 1) for each in zip(*parts, strict=True))
    return Drawn(positions, num_grad.astype(int), np.zeros(num_grad.shape, int), spent)
