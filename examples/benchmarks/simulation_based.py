"""Amortised posteriors beside sbi's NPSE and FMPE: classifier two-sample score and seconds.

    python examples/benchmarks/simulation_based.py [--sbi PYTHON] [--seeds N ...] [TASK ...]

Five tasks of Lueckmann et al. (2021, arXiv:2101.04653), see `simulation_based_tasks.py`. All
methods have the same 10,000 simulations and their own defaults. A seed draws new simulations and
new observations from the prior. The score is the accuracy of a classifier, cross-validated, that
tells 1,000 draws of the learned posterior from 1,000 of the exact one: .5 is best, 1 worst. The
classifier is that of the paper: two layers of ten times as many units as parameters, standardised
draws. Seconds are those of training and of 1,000 draws for one observation, compilation included;
ours include the simulations. Seconds of CPU change less with other work on the machine. Every
method runs in a process of its own; sbi (0.27 when measured) with the Python that is named, in
whose environment it is installed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
NUM_SIMULATIONS = 10_000
NUM_DRAWS = 1000


def score(draws, reference, seed):
    """Classifier two-sample score."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    mean, sd = reference.mean(axis=0), reference.std(axis=0)
    both = (np.concatenate([draws, reference]) - mean) / sd
    labels = np.repeat([0, 1], [len(draws), len(reference)])
    width = 10 * both.shape[1]
    classifier = MLPClassifier((width, width), max_iter=1000, random_state=seed)
    folds = KFold(5, shuffle=True, random_state=seed)
    return float(cross_val_score(classifier, both, labels, cv=folds).mean())


def ours(source, out, options):
    """Simulate, train and draw; the pairs are written too, for the others."""
    import jax
    from simulation_based_tasks import TASKS

    import numpyro_score as ns

    given = np.load(source)
    task, seed = TASKS[str(given["task"])], int(given["seed"])
    rng, pairs = np.random.default_rng((seed, 1)), []

    def simulator(rng_key, parameters):
        del rng_key
        pairs.append((parameters["theta"], task.simulate(rng, parameters["theta"])))
        return pairs[-1][1]

    began, cpu = time.perf_counter(), time.process_time()
    posterior = ns.fit_posterior(
        simulator,
        jax.random.key(seed),
        prior={"theta": task.prior},
        num_simulations=NUM_SIMULATIONS,
        progress=False,
        **options,
    )
    trained = time.perf_counter() - began, time.process_time() - cpu
    draws, times = [], []
    for i, x in enumerate(given["observations"]):
        start, start_cpu = time.perf_counter(), time.process_time()
        found = posterior.sample(jax.random.key(i), x, NUM_DRAWS)
        draws.append(np.asarray(found["theta"]))
        times.append((time.perf_counter() - start, time.process_time() - start_cpu))
    theta, x = (np.stack(part) for part in zip(*pairs, strict=True))
    seconds = np.array(trained) + times[0]
    np.savez(out, draws=np.stack(draws), seconds=seconds, theta=theta, x=x)


def prior_arrays(prior):
    """What sbi's prior is made of."""
    import jax
    import numpyro.distributions as dist

    if isinstance(prior, dist.MultivariateNormal):
        return {"covariance": np.asarray(prior.covariance_matrix)}
    base = prior.base_dist
    if isinstance(base, dist.ExpandedDistribution):
        base = base.base_dist
    ones = np.ones(prior.event_shape)
    if isinstance(base, dist.Uniform):
        return {"low": float(base.low) * ones, "high": float(base.high) * ones}
    return {"covariance": float(jax.numpy.square(base.scale)) * np.diag(ones)}


def observe(task, seed, num):
    """Observations from the prior, and exact draws given each."""
    import jax

    rng = np.random.default_rng((seed, 0))
    truths = np.asarray(task.prior.sample(jax.random.key(1000 + seed), (num,)), float)
    xs = [task.simulate(rng, theta) for theta in truths]
    return np.stack(xs), [task.reference(rng, x, NUM_DRAWS) for x in xs]


def run(command, method, folder):
    """Run one method in a folder, where sbi writes logs; its draws, seconds and pairs."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{method} failed:\n{done.stderr[-2000:]}")
    return np.load(command[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    parser.add_argument("--sbi", help="a Python that has sbi, by its whole path")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--observations", type=int, default=2, help="scored a seed")
    parser.add_argument("--options", default="{}", help="of fit_posterior, as JSON")
    parser.add_argument("--methods", nargs="+", default=["ours", "npse", "fmpe"])
    parser.add_argument("--out", type=Path, help="a file for rows, one in a line; rows add up")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        ours(*args.one, json.loads(args.options))
        return
    from simulation_based_tasks import TASKS

    if not args.sbi:
        print("sbi is left out: name a Python that has it with --sbi")
    for seed in args.seeds:
        for name in args.tasks or TASKS:
            for row in rows_of(name, TASKS[name], seed, args):
                print(
                    f"{row['task']:17} {row['method']:5} seed {seed}: "
                    f"score {np.mean(row['scores']):.3f}, {row['seconds']:.0f} s, "
                    f"{row['cpu']:.0f} s of CPU",
                    flush=True,
                )
                if args.out:
                    with args.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")


def rows_of(name, task, seed, args):
    """Rows of one task and seed, as they are found."""
    observations, references = observe(task, seed, args.observations)
    with tempfile.TemporaryDirectory() as folder:
        given, pairs = f"{folder}/given.npz", f"{folder}/pairs.npz"
        np.savez(given, task=name, seed=seed, observations=observations)
        own = [
            sys.executable,
            str(HERE / "simulation_based.py"),
            "--options",
            args.options,
            "--one",
            given,
            pairs,
        ]
        found = run(own, "fit_posterior", folder)
        others = [method for method in args.methods if args.sbi and method != "ours"]
        if others:
            prior = prior_arrays(task.prior)
            kept = {"theta": found["theta"], "x": found["x"], **prior}
            np.savez(given, observations=observations, num=NUM_DRAWS, **kept)
        for method in ("ours", *others):
            if method != "ours":
                script, out = str(HERE / "simulation_based_sbi.py"), f"{folder}/{method}.npz"
                found = run([args.sbi, script, method, str(seed), given, out], method, folder)
            scores = [score(*both, seed) for both in zip(found["draws"], references, strict=True)]
            seconds, cpu = map(float, found["seconds"])
            yield {
                "task": name,
                "method": method,
                "seed": seed,
                "scores": scores,
                "seconds": seconds,
                "cpu": cpu,
            }


if __name__ == "__main__":
    main()
