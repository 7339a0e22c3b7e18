"""What a density of a learned distribution costs, beside a Normal of the same dimension.

Untrained networks cost what trained ones do. Rows: dimension, steps of the map; microseconds a log
density and a gradient, each in one compiled program for 100 points.

    python examples/benchmarks/learned_distribution.py
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from numpyro_score.distributions import LearnedDistribution

NUM_POINTS = 100


def microseconds(fn, x, repeats):
    """Median time of one point, of the best-compiled form of a function of one."""
    program = jax.jit(jax.vmap(fn))
    jax.block_until_ready(program(x))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(program(x))
        times.append(time.perf_counter() - began)
    return 1e6 * float(np.median(times)) / len(x)


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--train-steps", type=int, default=20)
    options = parser.parse_args(arguments)
    print("| d | steps of the map | log density | gradient | Normal | its gradient |")
    print("|---|---|---|---|---|---|")
    for dim in (2, 5, 10):
        draws = np.random.default_rng(0).normal(size=(2000, dim))
        normal = dist.Normal(jnp.zeros(dim), jnp.ones(dim)).to_event(1)
        x = jnp.asarray(draws[:NUM_POINTS], jnp.float32)
        plain = [
            microseconds(fn, x, options.repeats)
            for fn in (normal.log_prob, jax.grad(normal.log_prob))
        ]
        for num_flow_steps in (8, 24):
            learned = LearnedDistribution.fit(
                draws,
                rng_key=jax.random.key(0),
                num_steps=options.train_steps,
                num_flow_steps=num_flow_steps,
                progress=False,
            )
            found = [
                microseconds(fn, x, options.repeats)
                for fn in (learned.log_prob, jax.grad(learned.log_prob))
            ]
            cells = " | ".join(f"{value:.3g}" for value in (*found, *plain))
            print(f"| {dim} | {num_flow_steps} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
