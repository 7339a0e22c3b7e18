"""Short warmups of few and many chains: is the acceptance right, and how good is the kernel?

    python examples/benchmarks/short_warmups.py --folder POSTERIORS
    python examples/benchmarks/short_warmups.py --folder POSTERIORS --kernel mams nes arK

Of every posterior, number of chains and length of the warmup a run of 1,000 draws. Each entry: the
distance of the draws' acceptance from its aim, in hundredths, with `w` where the run warned and
`!` where it is more than .1 off and did not; then effective draws per gradient over those of the
oracle, in hundredths: the smaller of those for means and for squared distances from the mean, of
the slowest parameter. The oracle is the same kernel after 2,000 steps of warmup of 64 chains. With
one chain of 1,000 draws the ratio has an error of some .2. The posteriors are those of
`posteriordb_models.py`, whose data are not part of this project. Over seeds the acceptance that is
furthest off is shown, and the median ratio.
"""

import argparse
import warnings

import jax
import numpy as np
import posteriordb_models
from hard_posteriors import fewest_effective

import numpyro_score as ns

LENGTHS = (50, 100, 200, 500)
CHAINS = (1, 4, 16, 64)
NUM_SAMPLES = 1000
ORACLE = 2000
MAX_OFF = 0.1
KERNELS = {
    "mala": lambda model: ns.MALA(model, dense_mass=True),
    "mams": lambda model: ns.MAMS(model, dense_mass=True),
    "ghmc": lambda model: ns.GHMC(model, dense_mass=True),
}


def measure(kernel, seed, num_warmup, num_chains):
    """Acceptance minus its aim, effective draws per gradient, and whether the run warned."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        dt = ns.sample(
            kernel,
            jax.random.key(seed),
            num_warmup=num_warmup,
            num_samples=NUM_SAMPLES,
            num_chains=num_chains,
            progress=False,
        )
    off = float(dt.sample_stats["acceptance_rate"].mean()) - dt.attrs["target_accept_prob"]
    fewest, _ = fewest_effective(dt)
    has_warned = any(issubclass(one.category, ns.ConvergenceWarning) for one in given)
    return off, fewest / float(dt.sample_stats["num_grad"].sum()), has_warned


def entry(runs, oracle):
    """One entry of the table."""
    off, _, has_warned = max(runs, key=lambda run: abs(run[0]))
    is_silent = any(abs(one) > MAX_OFF and not warned for one, _, warned in runs)
    mark = "!" if is_silent else "w" if has_warned else ""
    ratio = np.median([per_gradient for _, per_gradient, _ in runs]) / oracle
    return f"{100 * off:+.0f}{mark} {100 * ratio:.0f}", is_silent


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="*", help="all by default")
    parser.add_argument("--folder", required=True, help="with reference.json and data/*.json")
    parser.add_argument("--kernel", choices=KERNELS, default="mala")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    posteriors = posteriordb_models.load(arguments.folder)
    print(f"{arguments.kernel}, {arguments.seeds} seeds; columns: steps of warmup")
    print("| posterior | chains |" + "".join(f" {length} |" for length in LENGTHS))
    print("|---" * (2 + len(LENGTHS)) + "|")
    num_silent = 0
    for name in arguments.target or posteriors:
        kernel = KERNELS[arguments.kernel](posteriors[name].model)
        _, oracle, _ = measure(kernel, 100, ORACLE, CHAINS[-1])
        for num_chains in CHAINS:
            cells = []
            for length in LENGTHS:
                runs = [
                    measure(kernel, seed, length, num_chains) for seed in range(arguments.seeds)
                ]
                text, is_silent = entry(runs, oracle)
                cells.append(text)
                num_silent += is_silent
            print(f"| {name} | {num_chains} | " + " | ".join(cells) + " |", flush=True)
    print(f"entries with a run that was off and did not warn: {num_silent}")


if __name__ == "__main__":
    main()
