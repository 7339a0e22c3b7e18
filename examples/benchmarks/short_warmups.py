"""Short warmups of few and many chains: is the acceptance right, and how good is the kernel?

    python examples/benchmarks/short_warmups.py --folder POSTERIORS
    python examples/benchmarks/short_warmups.py --folder POSTERIORS --kernel mams nes arK

Of every posterior, number of chains and length of the warmup a run of 1,000 draws. Each entry: the
distance of the draws' acceptance from its aim, in hundredths, with `w` where a run warned, `!`
where it is more than .1 off and did not, and `!!` where a known mean or second moment is more than
5 standard errors off and it did not; then effective draws per gradient over those of the
oracle, in hundredths: the smaller of those for means and for squared distances from the mean, of
the slowest parameter. The oracle is the same kernel after 2,000 steps of warmup of 64 chains, the
median of three. With
one chain of 1,000 draws the ratio has an error of some .2. The posteriors are those of
`posteriordb_models.py`, whose data are not part of this project. Over seeds the acceptance that is
furthest off is shown, and the median ratio.
"""

import argparse
import warnings
from typing import NamedTuple

import jax
import numpy as np
import posteriordb_models
from hard_posteriors import fewest_effective, of_folder, worst_error

import numpyro_score as ns

LENGTHS = (50, 100, 200, 500)
CHAINS = (1, 4, 16, 64)
NUM_SAMPLES = 1000
ORACLE = 2000
MAX_OFF = 0.1
MAX_ERROR = 5.0
KERNELS = {
    "mala": lambda model: ns.MALA(model, dense_mass=True),
    "mams": lambda model: ns.MAMS(model, dense_mass=True),
    "ghmc": lambda model: ns.GHMC(model, dense_mass=True),
}


class Run(NamedTuple):
    """Acceptance minus its aim, effective draws per gradient, error, and whether it warned."""

    off: float
    per_gradient: float
    error: float
    has_warned: bool

    @property
    def fault(self):
        """What is wrong without a warning."""
        if self.has_warned:
            return ""
        return "!!" if self.error > MAX_ERROR else "!" if abs(self.off) > MAX_OFF else ""


def measure(kernel, problem, seed, num_warmup, num_chains):
    """One run."""
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
    per_gradient = fewest / float(dt.sample_stats["num_grad"].sum())
    return Run(off, per_gradient, worst_error(dt, problem), has_warned)


def entry(runs, oracle):
    """One entry of the table."""
    off = max((run.off for run in runs), key=abs)
    mark = max((run.fault for run in runs), key=len) or "w" * any(run.has_warned for run in runs)
    ratio = np.median([run.per_gradient for run in runs]) / oracle
    return f"{100 * off:+.0f}{mark} {100 * ratio:.0f}"


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
    faults = []
    for name in arguments.target or posteriors:
        kernel = KERNELS[arguments.kernel](posteriors[name].model)
        problem = of_folder(posteriors[name])
        oracles = [measure(kernel, problem, seed, ORACLE, CHAINS[-1]) for seed in range(100, 103)]
        oracle = np.median([run.per_gradient for run in oracles])
        for num_chains in CHAINS:
            cells = []
            for length in LENGTHS:
                runs = [
                    measure(kernel, problem, seed, length, num_chains)
                    for seed in range(arguments.seeds)
                ]
                cells.append(entry(runs, oracle))
                faults += [run.fault for run in runs]
            print(f"| {name} | {num_chains} | " + " | ".join(cells) + " |", flush=True)
    print(
        f"of {len(faults)} runs, without a warning: {faults.count('!')} with an acceptance more "
        f"than {MAX_OFF} off, {faults.count('!!')} with an error above {MAX_ERROR} standard errors"
    )


if __name__ == "__main__":
    main()
