"""One MALA step against BlackJAX's, in a scan: microseconds a step, and the ratio.

    python examples/benchmarks/mala_step.py

Both run the same number of steps on the same Gaussian from the same keys, in turn, in one process;
the ratio is BlackJAX's median time over ours, so that more than 1 is faster than BlackJAX. The
last column is the same for our step with a diagonal preconditioner, which BlackJAX's has not.
"""

import statistics
import time
from functools import partial

import blackjax
import jax
import jax.numpy as jnp

import numpyro_score as ns

DIMENSIONS = (10, 100)
CHAINS = (1, 16, 128, 1024)
STEP_SIZE = 0.3
REPEATS = 15
SECONDS = 0.2
"""Length of one timed run, about."""


def logdensity(x):
    """Standard Gaussian."""
    return -0.5 * jnp.sum(x**2)


@partial(jax.jit, static_argnames=("algorithm", "num_steps"))
def run(algorithm, num_steps, rng_key, state):
    """`num_steps` steps of every chain."""
    chains = jax.tree.leaves(state)[0].shape[0]

    def step(state, rng_key):
        return jax.vmap(algorithm.step)(jax.random.split(rng_key, chains), state)[0], None

    return jax.lax.scan(step, state, jax.random.split(rng_key, num_steps))[0]


def seconds(algorithm, num_steps, state, seed):
    """Wall time of one run, compiled before."""
    rng_key = jax.random.key(seed)
    start = time.perf_counter()
    jax.block_until_ready(run(algorithm, num_steps, rng_key, state))
    return time.perf_counter() - start


def main():
    """Print the table."""
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, median of {REPEATS}")
    print(f"{'d':>4} {'chains':>6} {'ours us':>9} {'blackjax':>9} {'ratio':>6} {'with P':>6}")
    for dim in DIMENSIONS:
        algorithms = {
            "ours": ns.mala(logdensity, STEP_SIZE),
            "blackjax": blackjax.mala(logdensity, STEP_SIZE),
            "diagonal": ns.mala(logdensity, STEP_SIZE, inverse_mass_matrix=jnp.ones(dim)),
        }
        for chains in CHAINS:
            states = {k: jax.vmap(a.init)(jnp.zeros((chains, dim))) for k, a in algorithms.items()}
            trial = 20
            for name, algorithm in algorithms.items():
                seconds(algorithm, trial, states[name], 0)
            pace = seconds(algorithms["blackjax"], trial, states["blackjax"], 1) / trial
            num_steps = max(int(SECONDS / pace), trial)
            times = {name: [] for name in algorithms}
            for seed in range(-1, REPEATS):
                for name, algorithm in algorithms.items():
                    elapsed = seconds(algorithm, num_steps, states[name], seed + 1)
                    if seed >= 0:  # the first compiles
                        times[name].append(elapsed / num_steps)
            median = {name: statistics.median(t) for name, t in times.items()}
            print(
                f"{dim:4} {chains:6} {1e6 * median['ours']:9.2f} {1e6 * median['blackjax']:9.2f} "
                f"{median['blackjax'] / median['ours']:6.2f} "
                f"{median['blackjax'] / median['diagonal']:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
