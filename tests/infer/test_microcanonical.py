"""MAMS in NumPyro's protocol: the trajectory length that warmup learns."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import numpyro_score as ns


def test_lengths_are_those_of_a_trajectory_not_of_all_that_were_tried() -> None:
    """A Gaussian needs one or two steps, also where every move tries several trajectories."""
    kernel = ns.MAMS(logdensity_fn=lambda x: -0.5 * jnp.sum(x**2), local_step_size=True)
    num_warmup = 300

    def one(key: Any) -> Any:
        state = kernel.init(key, num_warmup, jnp.zeros(10), (), {})
        state = jax.lax.fori_loop(0, num_warmup, lambda _, s: kernel.sample(s, (), {}), state)
        return state.adapt_state.warmup.trajectory.mean_num_steps

    lengths = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 40)))
    # counted with the trials it was 8 to 16, and above 50 for some
    assert np.mean(lengths) < 4
    assert lengths.max() <= 8
