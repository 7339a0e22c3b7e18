"""What XLA's optimization level costs and gains: seconds of compilation and of sampling.

    python examples/benchmarks/compilation.py [CASE ...] [--levels 2 3] [--repeats 3] [--runs 5]

Every figure is of a fresh process with `XLA_FLAGS=--xla_backend_optimization_level=LEVEL`, which
`numpyro_score.compilation` leaves as it is; processes of all levels run in turn. Compilation is
that of the first run's loop, sampling the quickest of several later runs of the same kernel object.
Medians over repeats, and their ratios to those of the last level.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

CASES = ("gauss10", "gauss10_1", "gauss100", "gauss100_1024", "breast_cancer", "eight_schools")
CASES += ("mams", "stochastic_volatility", "item_response", "tempering", "nuts")


def on_gaussian(dim, num_chains):
    import jax.numpy as jnp

    import numpyro_score as ns

    kernel = ns.MALA(logdensity_fn=lambda x: -0.5 * jnp.sum(x**2))
    return kernel, {"num_chains": num_chains, "init_params": jnp.zeros((num_chains, dim))}


def on_target(make, name, num_chains, **options):
    from numpyro_score import targets

    target = getattr(targets, name)()
    arguments = {"model_args": target.model_args, "model_kwargs": target.model_kwargs}
    return make(target.model, **options), {"num_chains": num_chains, **arguments}


def make_case(name):
    """A kernel, the arguments of its runs, and the number of draws a chain."""
    from numpyro.infer import NUTS

    import numpyro_score as ns

    if name.startswith("gauss"):
        dim, _, num_chains = name.removeprefix("gauss").partition("_")
        num_chains = int(num_chains or 64)
        steps = 4_000_000 // (int(dim) * num_chains + 60)
        return *on_gaussian(int(dim), num_chains), steps
    return {
        "breast_cancer": lambda: (
            *on_target(ns.MALA, "breast_cancer", 64, dense_mass=True),
            1000,
        ),
        "eight_schools": lambda: (*on_target(ns.MALA, "eight_schools", 16), 20_000),
        "mams": lambda: (*on_target(ns.MAMS, "eight_schools", 64, dense_mass=True), 2000),
        "stochastic_volatility": lambda: (*on_target(ns.MALA, "stochastic_volatility", 64), 1000),
        "item_response": lambda: (*on_target(ns.MALA, "item_response", 16), 300),
        "tempering": lambda: (*on_target(ns.ParallelTempering, "eight_schools", 16), 2000),
        "nuts": lambda: (*on_target(NUTS, "eight_schools", 16), 500),
    }[name]()


def work(name, runs):
    """Seconds of the first run's compilation, and of the quickest of later runs' sampling."""
    import jax

    import numpyro_score as ns

    kernel, arguments, num_samples = make_case(name)
    found = []
    for seed in range(runs + 1):
        dt = ns.sample(
            kernel,
            jax.random.key(seed),
            num_warmup=100,
            num_samples=num_samples,
            progress=False,
            **arguments,
        )
        found.append([dt.attrs["seconds_compile"], dt.attrs["seconds_sampling"]])
    return {"compile": found[0][0], "sample": min(seconds for _, seconds in found[1:])}


def measure(name, level, runs):
    here = Path(__file__).resolve()
    path = os.pathsep.join(filter(None, [str(here.parents[2]), os.environ.get("PYTHONPATH")]))
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONWARNINGS": "ignore",
        "XLA_FLAGS": f"--xla_backend_optimization_level={level}",
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    typed = [sys.executable, str(here), "--work", name, "--runs", str(runs)]
    done = subprocess.run(typed, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        print(json.dumps(work(given.work, given.runs)))
        return
    unknown = set(given.case) - set(CASES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    print(f"{'case':24}{'level':>6}{'compile':>9}{'ratio':>7}{'sample':>9}{'ratio':>7}")
    for name in given.case or CASES:
        turns = [
            {level: measure(name, level, given.runs) for level in given.levels}
            for _ in range(given.repeats)
        ]
        for level in given.levels:
            line = f"{name:24}{level:>6}"
            for what in ("compile", "sample"):
                ratios = [turn[level][what] / turn[given.levels[-1]][what] for turn in turns]
                seconds = statistics.median(turn[level][what] for turn in turns)
                line += f"{seconds:9.2f}{statistics.median(ratios):7.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
