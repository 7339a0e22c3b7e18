"""BlackJAX's adaptive tempered sequential Monte Carlo with random walk moves.

Populations are made one after the other until the draws suffice or the budget is used up. Between
temperatures the particles take steps of random walk Metropolis, whose covariance is that of the
particles (`blackjax.inner_kernel_tuning`), by the scale of Roberts, Gelman and Gilks (1997).
"""

import time
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc import extend_params, resampling
from blackjax.smc.tuning.from_particles import particles_covariance_matrix

from numpyro_score.comparison.external.blocks import NOTHING
from numpyro_score.comparison.external.protocol import Drawn, Task
from numpyro_score.compilation import loop_options
from numpyro_score.diagnostics.cost import GRADIENT_COST
from numpyro_score.run.within import BudgetExceededError
from numpyro_score.types import RngKey

NUM_PARTICLES = 1_000
"""Particles of a population, the number of BlackJAX's own examples."""

TARGET_ESS = 0.5
"""Effective sample size of the weights at the next temperature, as a share of the particles."""

NUM_MOVES = 10
"""Steps of each particle at each temperature, BlackJAX's default."""

JITTER = 1e-6
"""Share of the variances that is added to the covariance: particles may lie in a plane."""


def tempered_populations(task: Task) -> Drawn:
    """Tempered populations, their particles given to the chains in turn.

    Del Moral, Doucet and Jasra, Sequential Monte Carlo samplers (JRSS B 68, 2006).

    Parameters
    ----------
    task
        What to draw; its reference is where particles start.

    Raises
    ------
    BudgetExceededError
        If the budget is used up before the first population is complete.
    """
    prior = task.reference.logdensity_fn
    dim = task.positions.shape[1]
    scale = 2.38**2 / dim

    def covariance(particles: Any) -> dict[str, Any]:
        found = jnp.atleast_2d(particles_covariance_matrix(particles))
        found = scale * (found + JITTER * jnp.diag(jnp.diag(found)))
        return extend_params({"cholesky": jnp.linalg.cholesky(found)})

    random_walk = blackjax.additive_step_random_walk.build_kernel()

    def move(key: RngKey, state: Any, logdensity_fn: Any, cholesky: Any) -> Any:
        def step(key: RngKey, position: Any) -> Any:
            return cholesky @ jax.random.normal(key, position.shape)

        return random_walk(key, state, logdensity_fn, step)

    def algorithm(first: dict[str, Any]) -> Any:
        return blackjax.inner_kernel_tuning(
            blackjax.adaptive_tempered_smc,
            prior,
            lambda x: task.logdensity_fn(x) - prior(x),
            move,
            blackjax.additive_step_random_walk.init,
            resampling.systematic,
            lambda key, state, info: covariance(state.particles),
            first,
            NUM_MOVES,
            target_ess=TARGET_ESS,
        )

    def start(key: RngKey) -> Any:
        particles = jax.vmap(task.reference.draw)(jax.random.split(key, NUM_PARTICLES))
        return algorithm(covariance(particles)).init(particles)

    state = jax.jit(start)(task.rng_key)
    began = time.perf_counter()
    stage = algorithm(state.parameter_override).step
    step = jax.jit(stage).lower(task.rng_key, state).compile(loop_options())
    compiling = time.perf_counter() - began
    # the ratio of the weights, a density for the start of the moves, and one for each of them
    per_stage = NUM_PARTICLES * (2 + NUM_MOVES)
    wanted = None if task.num_samples is None else task.num_samples * task.num_chains
    began = time.perf_counter()
    budget, spent = task.budget, NOTHING._replace(seconds_compile=compiling)
    populations: list[np.ndarray] = []
    costs: list[int] = []
    while wanted is None or len(populations) * NUM_PARTICLES < wanted:
        round_key = jax.random.fold_in(task.rng_key, len(populations))
        state = jax.jit(start)(round_key)
        num_stages, is_complete = 0, False
        while not is_complete and not (budget and budget.of(spent) >= budget.number):
            # a stage resamples by the weights of the one before: the last one is at the target
            is_complete = bool(state.sampler_state.tempering_param >= 1)
            num_stages += 1
            state, _ = step(jax.random.fold_in(round_key, num_stages), state)
            spent = spent._replace(
                num_logdensity=spent.num_logdensity + per_stage,
                seconds_sampling=time.perf_counter() - began,
            )
        if not is_complete:
            # it is paid for, and left out
            break
        populations.append(np.asarray(state.sampler_state.particles))
        costs.append(per_stage * num_stages)
    if not populations:
        raise BudgetExceededError(
            f"the budget of {budget} was used up before the first population was complete; give a "
            "larger budget"
        )
    return _given_out(populations, costs, spent, task)


def _given_out(populations: list[np.ndarray], costs: list[int], spent: Any, task: Task) -> Drawn:
    num_chains = task.num_chains
    num = NUM_PARTICLES // num_chains
    # every population in a random order: resampling leaves copies beside each other
    orders = [
        np.random.default_rng(i).permutation(NUM_PARTICLES)[: num * num_chains]
        for i in range(len(populations))
    ]
    parts = [
        x[order].reshape(num_chains, num, -1) for x, order in zip(populations, orders, strict=True)
    ]
    positions = np.concatenate(parts, axis=1)[:, : task.num_samples]
    counts = np.zeros(positions.shape[:2], int)
    # the cost of a population is on its first draw
    for i, cost in enumerate(costs):
        counts[0, i * num] = cost
    # what an incomplete population took is adaptation, of which gradients are counted
    left_out = (spent.num_logdensity - counts.sum()) / GRADIENT_COST
    spent = spent._replace(num_logdensity=float(counts.sum()), num_grad_warmup=float(left_out))
    return Drawn(positions, 0 * counts, counts, spent)
