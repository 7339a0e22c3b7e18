"""Learned jumps against flowMC on three Gaussian mixtures: seconds, mode weights, acceptance.

    python examples/benchmarks/global_moves.py [--flowmc PYTHON] [--particles N] \
        [--proposal NAME] [TARGET ...]
    python examples/benchmarks/global_moves.py --scaling [DIM ...]

100 chains, 1,000 reported draws of each. Every run is a process of its own, ours and flowMC's in
turn; seconds count from the end of the imports, and include all compilation, exploration and
training. flowMC (half local MALA, half global steps, 15 training loops) runs with the Python
that is named, in whose environment it is installed, and is left out where none is.

The targets are mixtures of Gaussians, which ours adapts by default. `--proposal flow` trains a
network instead, as for targets that are none.

`--scaling` runs ours alone, with the default and with either network (the path alone above 50
dimensions), on mixtures like the last target in 2 to 200 dimensions, and prints acceptance,
effective draws of the mode weights, and seconds of CPU, which other work on the machine changes
less than seconds.

Targets (`sd` is that of every component): `mog2` weights .2, .8 at (-5, -5), (5, 5), sd 1; `ring8`
eight modes on a circle of radius 10, weights k / 36, sd .7; `mog10d` four modes in 10 dimensions,
weights .1, .2, .3, .4, means uniform in [-8, 8]^10 from NumPy's `default_rng(0)`, sd 1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TARGETS = ("mog2", "ring8", "mog10d")
NUM_CHAINS, NUM_SAMPLES, NUM_WARMUP = 100, 1000, 200
PROPOSALS = ("default", "flow", "path")
MAX_FLOW = 50


def mixture(name):
    """(means, weights, sd) of the named mixture."""
    if name == "mog2":
        return np.array([[-5.0, -5.0], [5.0, 5.0]]), np.array([0.2, 0.8]), 1.0
    if name.startswith("mog") and name != "mog2":
        dim = int(name.removeprefix("mog").removesuffix("d"))
        means = np.random.default_rng(0).uniform(-8, 8, (4, dim))
        return means, np.array([0.1, 0.2, 0.3, 0.4]), 1.0
    if name == "ring8":
        angle = np.arange(8) * 2 * np.pi / 8
        return 10 * np.stack([np.cos(angle), np.sin(angle)], -1), np.arange(1, 9) / 36.0, 0.7
    raise SystemExit(f"there is no target {name!r}")


def log_density(name):
    import jax
    import jax.numpy as jnp

    means, weights, sd = (jnp.asarray(value, jnp.float32) for value in mixture(name))

    def value(x, data=None):
        return jax.nn.logsumexp(jnp.log(weights) - 0.5 * jnp.sum((x - means) ** 2, -1) / sd**2)

    return value, means.shape[1]


def total_variation(name, draws):
    """Of the mode weights, by the nearest mean."""
    means, weights, _ = mixture(name)
    nearest = np.argmin(((draws[:, None] - means) ** 2).sum(-1), 1)
    return 0.5 * np.abs(np.bincount(nearest, minlength=len(weights)) / len(draws) - weights).sum()


def ours(name, seed, particles, proposal):
    import arviz as az
    import jax
    import jax.numpy as jnp

    import numpyro_score as ns
    from numpyro_score.samplers import proposals

    logdensity_fn, dim = log_density(name)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    kernel = ns.GlobalLocal(
        logdensity_fn=logdensity_fn,
        num_particles=int(particles),
        proposal=None if proposal == "default" else getattr(proposals, f"{proposal}_proposal"),
        progress=False,
    )
    key_fit, key_run = jax.random.split(jax.random.key(seed))
    fitted = kernel.fit(key_fit, init_params=jnp.zeros(dim))
    learned_cpu = time.process_time()
    tree = ns.sample(
        kernel,
        key_run,
        num_warmup=NUM_WARMUP,
        num_samples=NUM_SAMPLES,
        num_chains=NUM_CHAINS,
        progress=False,
    )
    seconds, end_cpu = time.perf_counter() - begin, time.process_time()
    draws = next(iter(tree.posterior.data_vars.values())).to_numpy()
    stats = tree.sample_stats
    jumped = stats["is_global"].to_numpy()
    # how many independent draws the chains are worth, in the mode weights
    means, _, _ = mixture(name)
    nearest = np.argmin(((draws[:, :, None] - means) ** 2).sum(-1), -1)
    worth = min(float(az.ess((nearest == k).astype(float))) for k in range(len(means)))
    own = int(stats["num_grad"].sum() + tree.warmup_sample_stats["num_grad"].sum())
    return {
        "seconds": seconds,
        "tv": total_variation(name, draws.reshape(-1, dim)),
        "acceptance": float(stats["global_accept_prob"].to_numpy()[jumped].mean()),
        "ess": worth,
        "evaluations": own + fitted.num_grad,
        "sampling": tree.attrs["seconds_warmup"] + tree.attrs["seconds_sampling"],
        "cpu_learning": learned_cpu - begin_cpu,
        "cpu_running": end_cpu - learned_cpu,
        "log_z": fitted.quality.log_evidence - log_z(name),
        "log_z_error": fitted.quality.log_evidence_error,
        "pareto_k": fitted.quality.pareto_k,
    }


def log_z(name):
    """Log of the integral of the density."""
    means, _, sd = mixture(name)
    return means.shape[1] * (0.5 * np.log(2 * np.pi) + np.log(sd))


def flowmc(name, seed, *_):
    import jax
    from flowMC.resource_strategy_bundle.RQSpline_MALA import RQSpline_MALA_Bundle
    from flowMC.Sampler import Sampler

    logdensity_fn, dim = log_density(name)
    begin = time.perf_counter()
    key_bundle, key_sampler, key_start = jax.random.split(jax.random.key(seed), 3)
    bundle = RQSpline_MALA_Bundle(
        rng_key=key_bundle,
        n_chains=NUM_CHAINS,
        n_dims=dim,
        logpdf=logdensity_fn,
        n_local_steps=50,
        n_global_steps=50,
        n_training_loops=15,
        n_production_loops=NUM_SAMPLES // 100,
        n_epochs=10,
        mala_step_size=0.3,
        learning_rate=1e-3,
        batch_size=5000,
    )
    sampler = Sampler(
        n_dim=dim, n_chains=NUM_CHAINS, rng_key=key_sampler, resource_strategy_bundles=bundle
    )
    sampler.sample(5 * jax.random.normal(key_start, (NUM_CHAINS, dim)), {})
    draws = np.asarray(sampler.resources["positions_production"].data).reshape(-1, dim)
    draws = draws[np.isfinite(draws).all(1)]
    accepted = np.asarray(sampler.resources["global_accs_production"].data)
    # 25 loops of 50 MALA steps and 50 global ones of every chain
    return {
        "seconds": time.perf_counter() - begin,
        "tv": total_variation(name, draws),
        "acceptance": float(np.nanmean(np.where(np.isfinite(accepted), accepted, np.nan))),
        "ess": float("nan"),
        "evaluations": NUM_CHAINS * 25 * 100,
    }


def measure(python, which, name, seed, *options):
    """One run in a process of its own."""
    given = [which, name, str(seed), *map(str, options)]
    command = [python, str(Path(__file__).resolve()), "--one", *given]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "outdir").mkdir()  # flowMC writes there
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{which} on {name}, seed {seed}, failed:\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def independent(name, num):
    """Mean total variation of the mode weights of so many independent draws."""
    _, weights, _ = mixture(name)
    counts = np.random.default_rng(0).multinomial(int(num), weights, size=2000)
    return float((0.5 * np.abs(counts / int(num) - weights).sum(axis=1)).mean())


def scaling(dims, num_particles):
    """Ours alone, with every proposal, as the dimension grows."""
    for dim in dims:
        # the exact divergence of the flow costs `dim` products of Jacobian and vector
        for proposal in PROPOSALS if dim <= MAX_FLOW else ("default", "path"):
            row = measure(sys.executable, "ours", f"mog{dim}d", 0, num_particles, proposal)
            print(
                f"d = {dim:3} {proposal}: acceptance {row['acceptance']:.3f}, "
                f"TV {row['tv']:.4f}, ESS {row['ess']:.0f}, {row['cpu_learning']:.0f} CPU s "
                f"exploring and training, {row['cpu_running']:.0f} CPU s compiling the chains and "
                f"running them, {row['sampling']:.1f} s of that running "
                f"({row['ess'] / row['sampling']:.0f} effective draws a second), "
                f"log Z off by {row['log_z']:.4f} +- {row['log_z_error']:.4f}, "
                f"Pareto k {row['pareto_k']:.2f}",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET")
    parser.add_argument("--flowmc", help="a Python that has flowMC")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--particles", type=int, help="of our exploration; its default otherwise")
    parser.add_argument("--proposal", choices=PROPOSALS, default="default")
    parser.add_argument("--scaling", action="store_true", help="ours alone, in DIM dimensions")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        which, name, seed, *options = args.targets
        print(json.dumps({"ours": ours, "flowmc": flowmc}[which](name, int(seed), *options)))
        return
    # flowMC's environment does not have the package
    from numpyro_score.infer.global_local import NUM_PARTICLES

    num_particles = args.particles or NUM_PARTICLES
    if args.scaling:
        dims = (2, 5, 10, 20, 50, 100, 200) if args.targets == TARGETS else map(int, args.targets)
        scaling(dims, num_particles)
        return
    pythons = {"ours": sys.executable}
    if args.flowmc:
        pythons["flowmc"] = args.flowmc
    else:
        print("flowMC is left out: name a Python that has it with --flowmc")
    ratios = []
    for name in args.targets:
        rows = {which: [] for which in pythons}
        for seed in range(args.seeds):
            for which, python in pythons.items():
                row = measure(python, which, name, seed, num_particles, args.proposal)
                rows[which].append(row)
                print(
                    f"{name:7} {which:7} seed {seed}: {row['seconds']:6.1f} s, "
                    f"TV {row['tv']:.4f}, acceptance {row['acceptance']:.3f}, "
                    f"ESS {row['ess']:.0f}, {row['evaluations']:.2e} evaluations",
                    flush=True,
                )
        median = {
            which: {key: float(np.median([row[key] for row in found])) for key in found[0]}
            for which, found in rows.items()
        }
        floor = independent(name, median["ours"]["ess"])
        print(
            f"{name:7} median of ours: {median['ours']}; as many independent draws: TV {floor:.4f}"
        )
        if "flowmc" in median:
            ratios.append(median["ours"]["seconds"] / median["flowmc"]["seconds"])
            print(f"{name:7} flowMC: {median['flowmc']}; ratio of seconds {ratios[-1]:.2f}")
    if ratios:
        print(f"geometric mean of the ratios: {np.exp(np.mean(np.log(ratios))):.2f}")


if __name__ == "__main__":
    main()
