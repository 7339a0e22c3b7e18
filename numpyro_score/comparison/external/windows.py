"""BlackJAX's NUTS with its window adaptation, each chain for itself."""

from typing import Any

import blackjax
import jax
from jaxtyping import Array

from numpyro_score.comparison.external.blocks import NOTHING, Stepped, draw_blocks, timed
from numpyro_score.comparison.external.protocol import Drawn, Task
from numpyro_score.types import RngKey


def window_nuts(task: Task) -> Drawn:
    """NUTS with a diagonal mass matrix and a step size of each chain's own.

    Hoffman and Gelman, The No-U-Turn Sampler (JMLR 15, 2014), as `blackjax.nuts`, with Stan's
    windows (`blackjax.window_adaptation`).

    Parameters
    ----------
    task
        What to draw.
    """
    adapt_key, draw_key = jax.random.split(task.rng_key)
    warmup = blackjax.window_adaptation(blackjax.nuts, task.logdensity_fn)

    def adapt(rng_key: RngKey, position: Array) -> Any:
        found, info = warmup.run(rng_key, position, task.num_warmup)
        return found.state, found.parameters, info.info.num_integration_steps.sum()

    keys = jax.random.split(adapt_key, task.num_chains)
    (states, parameters, num_grad), seconds, compiling = timed(
        jax.vmap(adapt), keys, task.positions
    )
    kernel = blackjax.nuts.build_kernel()

    def step(rng_key: RngKey, states: Any) -> tuple[Any, Stepped]:
        def one(key: RngKey, state: Any, parameters: Any) -> Any:
            return kernel(key, state, task.logdensity_fn, **parameters)

        keys = jax.random.split(rng_key, task.num_chains)
        states, info = jax.vmap(one)(keys, states, parameters)
        return states, Stepped(states.position, info.num_integration_steps)

    spent = NOTHING._replace(
        num_grad_warmup=float(num_grad.sum()), seconds_warmup=seconds, seconds_compile=compiling
    )
    return draw_blocks(task, draw_key, step, states, spent)
