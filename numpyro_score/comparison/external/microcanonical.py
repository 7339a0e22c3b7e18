"""BlackJAX's tuned microcanonical samplers, each chain for itself.

Robnik, De Luca, Silverstein and Seljak, Microcanonical Hamiltonian Monte Carlo (JMLR 24, 2023,
arXiv:2212.08549); adjusted: Robnik, Cohn-Gordon and Seljak (arXiv:2503.01707). Their integrator,
McLachlan's, takes two gradients a step.
"""

import math
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from numpyro_score.comparison.external.blocks import NOTHING, Stepped, draw_blocks, timed
from numpyro_score.comparison.external.protocol import Drawn, Task, check_directions
from numpyro_score.types import RngKey

GRADIENTS = 2
"""Of one step of the integrator."""

TUNING = 0.3
"""Share of the announced steps that are spent on tuning, by the defaults of BlackJAX."""

MEAN_STEPS = 2.0
"""Mean number of integration steps of an adjusted trajectory, BlackJAX's default."""

ACCEPTANCE = 0.9
"""Acceptance that the adjusted sampler is tuned to."""


def tuned_mclmc(task: Task) -> Drawn:
    """Microcanonical Langevin without Metropolis-Hastings: approximate, biased by its step size.

    Parameters
    ----------
    task
        What to draw; at least two dimensions.

    Raises
    ------
    ValueError
        If the target has one dimension.
    """
    check_directions(task)
    adapt_key, draw_key = jax.random.split(task.rng_key)
    kernel = blackjax.mclmc.build_kernel()

    def adapt(rng_key: RngKey, position: Array) -> Any:
        init_key, tune_key = jax.random.split(rng_key)
        return blackjax.mclmc_find_L_and_step_size(
            kernel,
            num_steps=math.ceil(task.num_warmup / TUNING),
            state=blackjax.mclmc.init(position, task.logdensity_fn, init_key),
            rng_key=tune_key,
            logdensity_fn=task.logdensity_fn,
        )

    keys = jax.random.split(adapt_key, task.num_chains)
    (states, parameters, num_steps), seconds, compiling = timed(
        jax.vmap(adapt), keys, task.positions
    )

    def step(rng_key: RngKey, states: Any) -> tuple[Any, Stepped]:
        def one(key: RngKey, state: Any, found: Any) -> Any:
            state, _ = kernel(
                key,
                state,
                task.logdensity_fn,
                found.inverse_mass_matrix,
                found.L,
                found.step_size,
            )
            return state

        keys = jax.random.split(rng_key, task.num_chains)
        states = jax.vmap(one)(keys, states, parameters)
        return states, Stepped(states.position, jnp.full(task.num_chains, GRADIENTS))

    spent = NOTHING._replace(
        num_grad_warmup=GRADIENTS * float(jnp.sum(jnp.asarray(num_steps))),
        seconds_warmup=seconds,
        seconds_compile=compiling,
    )
    return draw_blocks(task, draw_key, step, states, spent)


def tuned_adjusted_mclmc(task: Task) -> Drawn:
    """Microcanonical trajectories with Metropolis-Hastings, of random length.

    Parameters
    ----------
    task
        What to draw; at least two dimensions.

    Raises
    ------
    ValueError
        If the target has one dimension.
    """
    check_directions(task)
    adapt_key, draw_key = jax.random.split(task.rng_key)
    kernel = blackjax.adjusted_mclmc_dynamic.build_kernel(
        integration_steps_fn=lambda key, mean: jnp.ceil(
            jax.random.uniform(key) * (2 * mean - 1)
        ).astype(int)
    )

    def adapt(rng_key: RngKey, position: Array) -> Any:
        init_key, tune_key = jax.random.split(rng_key)
        return blackjax.adjusted_mclmc_find_L_and_step_size(
            kernel,
            logdensity_fn=task.logdensity_fn,
            num_steps=math.ceil(task.num_warmup / TUNING),
            state=blackjax.adjusted_mclmc_dynamic.init(position, task.logdensity_fn, init_key),
            rng_key=tune_key,
            target=ACCEPTANCE,
            target_num_integration_steps=MEAN_STEPS,
        )

    keys = jax.random.split(adapt_key, task.num_chains)
    (states, parameters, num_steps), seconds, compiling = timed(
        jax.vmap(adapt), keys, task.positions
    )

    def step(rng_key: RngKey, states: Any) -> tuple[Any, Stepped]:
        def one(key: RngKey, state: Any, found: Any) -> Any:
            return kernel(
                key,
                state,
                task.logdensity_fn,
                found.step_size,
                inverse_mass_matrix=found.inverse_mass_matrix,
                integration_steps_params=(found.L / found.step_size,),
            )

        keys = jax.random.split(rng_key, task.num_chains)
        states, info = jax.vmap(one)(keys, states, parameters)
        return states, Stepped(states.position, GRADIENTS * info.num_integration_steps)

    spent = NOTHING._replace(
        num_grad_warmup=GRADIENTS * float(jnp.sum(jnp.asarray(num_steps))),
        seconds_warmup=seconds,
        seconds_compile=compiling,
    )
    return draw_blocks(task, draw_key, step, states, spent)
