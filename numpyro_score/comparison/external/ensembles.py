"""BlackJAX's samplers whose adaptation uses all chains at once: MEADS and ChEES."""

from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import optax

from numpyro_score.comparison.external.blocks import NOTHING, Stepped, draw_blocks, timed
from numpyro_score.comparison.external.protocol import Drawn, Task
from numpyro_score.types import RngKey

STEP_SIZE, LEARNING_RATE = 0.1, 0.025
"""Of ChEES: the first step size, and the rate of Adam for the length of trajectories."""


def meads(task: Task) -> Drawn:
    """Generalised HMC, its parameters from the other chains.

    Hoffman and Sountsov, Tuning-free generalized Hamiltonian Monte Carlo (AISTATS 2022), as
    `blackjax.meads_adaptation`.

    Parameters
    ----------
    task
        What to draw; chains in a multiple of four.
    """
    adapt_key, draw_key = jax.random.split(task.rng_key)
    warmup = blackjax.meads_adaptation(task.logdensity_fn, task.num_chains)

    def adapt(rng_key: RngKey, positions: Any) -> Any:
        found, _ = warmup.run(rng_key, positions, task.num_warmup)
        return found.state, found.parameters

    (states, parameters), seconds, compiling = timed(adapt, adapt_key, task.positions)
    kernel = blackjax.ghmc.build_kernel()

    def step(rng_key: RngKey, states: Any) -> tuple[Any, Stepped]:
        def one(key: RngKey, state: Any) -> Any:
            return kernel(key, state, task.logdensity_fn, **parameters)

        states, _ = jax.vmap(one)(jax.random.split(rng_key, task.num_chains), states)
        return states, Stepped(states.position, jnp.ones(task.num_chains, int))

    spent = NOTHING._replace(
        # every chain is stepped, also those of the fold that is left out
        num_grad_warmup=float(task.num_chains * task.num_warmup),
        seconds_warmup=seconds,
        seconds_compile=compiling,
    )
    return draw_blocks(task, draw_key, step, states, spent)


def chees(task: Task) -> Drawn:
    """HMC of random length, learned from the squared distance that chains travel.

    Hoffman, Radul and Sountsov, An adaptive-MCMC scheme for setting trajectory lengths in
    Hamiltonian Monte Carlo (AISTATS 2021), as `blackjax.chees_adaptation` with a diagonal mass
    matrix.

    Parameters
    ----------
    task
        What to draw.
    """
    adapt_key, draw_key = jax.random.split(task.rng_key)
    warmup = blackjax.chees_adaptation(
        task.logdensity_fn, task.num_chains, mass_matrix_estimation="diagonal"
    )
    functions: dict[str, Any] = {}

    def adapt(rng_key: RngKey, positions: Any) -> Any:
        found, info = warmup.run(
            rng_key, positions, STEP_SIZE, optax.adam(LEARNING_RATE), task.num_warmup
        )
        parameters = dict(found.parameters)
        # functions stay outside of the compiled program
        functions.update({k: parameters.pop(k) for k in list(parameters) if k.endswith("_fn")})
        return found.state, parameters, info.info.num_integration_steps.sum()

    (states, parameters, num_grad), seconds, compiling = timed(adapt, adapt_key, task.positions)
    kernel = blackjax.dynamic_hmc.build_kernel(**functions)

    def step(rng_key: RngKey, states: Any) -> tuple[Any, Stepped]:
        def one(key: RngKey, state: Any) -> Any:
            return kernel(key, state, task.logdensity_fn, **parameters)

        states, info = jax.vmap(one)(jax.random.split(rng_key, task.num_chains), states)
        return states, Stepped(states.position, info.num_integration_steps)

    spent = NOTHING._replace(
        num_grad_warmup=float(num_grad), seconds_warmup=seconds, seconds_compile=compiling
    )
    return draw_blocks(task, draw_key, step, states, spent)
