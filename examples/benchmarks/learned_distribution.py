"""What a density of a learned distribution costs, beside a Normal and a neural spline flow.

Untrained networks cost what trained ones do. Microseconds of a log density and of its gradient, for
100 points in one compiled program. The spline flow is flowMC's, with its default layers (four, two
hidden layers of 32 units, 8 bins), and needs flowMC to be installed.

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


def spline_flow(dim):
    """Log density of flowMC's neural spline flow; None without flowMC."""
    try:
        from flowMC.resource.model.nf_model.rqSpline import MaskedCouplingRQSpline
    except ImportError:
        return None
    flow = MaskedCouplingRQSpline(dim, 4, [32, 32], 8, jax.random.key(0))
    return lambda x: flow.log_prob(x[None])[0]


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--train-steps", type=int, default=20)
    options = parser.parse_args(arguments)
    print("| d | distribution | log density, µs | gradient, µs |")
    print("|---|---|---|---|")
    for dim in (2, 5, 10):
        draws = np.random.default_rng(0).normal(size=(2000, dim))
        x = jnp.asarray(draws[:NUM_POINTS], jnp.float32)
        normal = dist.Normal(jnp.zeros(dim), jnp.ones(dim)).to_event(1)
        rows = {"Normal": normal.log_prob, "neural spline flow": spline_flow(dim)}
        for num_flow_steps in (8, 24):
            learned = LearnedDistribution.fit(
                draws,
                rng_key=jax.random.key(0),
                num_steps=options.train_steps,
                num_flow_steps=num_flow_steps,
                progress=False,
            )
            rows[f"learned, {num_flow_steps} steps"] = learned.log_prob
        for name, fn in rows.items():
            if fn is None:
                continue
            found = [microseconds(f, x, options.repeats) for f in (fn, jax.grad(fn))]
            print(f"| {dim} | {name} | {found[0]:.3g} | {found[1]:.3g} |", flush=True)


if __name__ == "__main__":
    main()
