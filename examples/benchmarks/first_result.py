"""Time to the first result: imports, compilation, whole processes.

    python examples/benchmarks/first_result.py [import] [command] [process] [kernels] [again]
                                               [--repeats N] [--before FOLDER]

Every figure is of fresh processes that run in turn, and is a median over repeats: seconds of CPU
(user and system, of all threads), seconds on the clock, and XLA compilations. Ratios are medians of
the ratios of two processes that ran one after the other; other work on the machine changes seconds
of CPU less than seconds. `--before` runs the same with the package in another folder, such as a
checkout of an older commit, in turn with this one.

`import`: this package's MALA against NumPyro. `command`: the command line's help, list and an
error. `process`: eight schools, non-centered, 16 chains, 500 steps of warmup and 1,000 draws, from
the start of the process to the draws: `sample(MALA)` and `MCMC(MALA)` against NumPyro's
`MCMC(NUTS)`, chains vectorized. `kernels`: seconds from the end of the imports to the first draw,
with the learning where a kernel learns. `again`: the second of two processes that share a
compilation cache.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NUM_CHAINS, NUM_WARMUP, NUM_SAMPLES = 16, 500, 1000
COMPILATION = "/jax/core/compile/backend_compile_duration"


def count_compilations():
    """A list that grows by one item with every program that XLA is given."""
    import jax

    found = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: found.append(seconds) if name == COMPILATION else None
    )
    return found


def eight_schools(numpyro, dist):
    import numpy as np

    y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    sigma = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def model(sigma=sigma, y=y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
        with numpyro.plate("school", 8):
            base = numpyro.sample("theta_base", dist.Normal(0.0, 1.0))
            theta = numpyro.deterministic("theta", mu + tau * base)
            numpyro.sample("y", dist.Normal(theta, sigma), obs=y)

    return model


def ring8(x):
    """Eight modes on a circle of radius 10, weights k / 36, sd .7."""
    import jax
    import jax.numpy as jnp

    angle = jnp.arange(8) * 2 * jnp.pi / 8
    means = 10 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
    distance = jnp.sum((x - means) ** 2, -1)
    return jax.nn.logsumexp(jnp.log(jnp.arange(1, 9) / 36.0) - distance / (2 * 0.7**2))


def work_import_numpyro():
    import numpyro  # noqa: F401


def work_import_ours():
    from numpyro_score.infer import MALA  # noqa: F401


def mcmc(make_kernel):
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC

    run = MCMC(
        make_kernel(eight_schools(numpyro, dist)),
        num_warmup=NUM_WARMUP,
        num_samples=NUM_SAMPLES,
        num_chains=NUM_CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    compilations, begin = count_compilations(), time.perf_counter()
    run.run(jax.random.key(0))
    run.get_samples()["mu"].block_until_ready()
    return {"compilations": len(compilations), "seconds": time.perf_counter() - begin}


def work_mcmc_nuts():
    from numpyro.infer import NUTS

    return mcmc(NUTS)


def work_mcmc_mala():
    from numpyro_score.infer import MALA

    return mcmc(MALA)


def sample(make_kernel, num_warmup, num_samples, num_chains=NUM_CHAINS, **options):
    import jax

    from numpyro_score.run import sample

    compilations, begin = count_compilations(), time.perf_counter()
    sample(
        make_kernel(),
        jax.random.key(0),
        num_warmup=num_warmup,
        num_samples=num_samples,
        num_chains=num_chains,
        progress=False,
        **options,
    )
    return {"compilations": len(compilations), "seconds": time.perf_counter() - begin}


def work_sample_mala():
    import numpyro
    import numpyro.distributions as dist

    from numpyro_score.infer import MALA

    model = eight_schools(numpyro, dist)
    return sample(lambda: MALA(model), NUM_WARMUP, NUM_SAMPLES)


def on_ring(name, **options):
    import jax.numpy as jnp

    import numpyro_score

    kernel = getattr(numpyro_score, name)
    return sample(
        lambda: kernel(logdensity_fn=ring8, **options), 100, 1, init_params=jnp.zeros((16, 2))
    )


def work_global_local():
    return on_ring("GlobalLocal", num_particles=1024, progress=False)


def on_schools(name, **options):
    import numpyro
    import numpyro.distributions as dist

    import numpyro_score

    kernel, model = getattr(numpyro_score, name), eight_schools(numpyro, dist)
    return sample(lambda: kernel(model, **options), 100, 1)


def work_parallel_tempering():
    return on_schools("ParallelTempering")


def work_tempered_smc():
    return on_schools("TemperedSMC")


def work_stochastic_localization():
    return on_schools("StochasticLocalization")


def work_reverse_sde():
    import jax.numpy as jnp

    from numpyro_score.infer import ReverseSDE
    from numpyro_score.noise import VE
    from numpyro_score.scores import GaussianMixtureScore

    angle = jnp.arange(8) * 2 * jnp.pi / 8
    means = 10 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
    score = GaussianMixtureScore(jnp.arange(1, 9) / 36.0, means, 0.49, VE(0.02, 20.0))
    return sample(lambda: ReverseSDE(score=score), 0, 1)


KERNELS = (
    "global_local",
    "parallel_tempering",
    "tempered_smc",
    "reverse_sde",
    "stochastic_localization",
)


def measure(arguments, folder=None, **variables):
    """Figures of a fresh process: CPU, clock, and what its work returns."""
    environment = {**os.environ, **variables}
    here = folder or Path(__file__).resolve().parents[2]
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    with tempfile.TemporaryFile("w+") as out:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=out, stderr=subprocess.DEVNULL, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        out.seek(0)
        lines = out.read().strip().splitlines()
    if os.waitstatus_to_exitcode(status) not in (0, 2):  # 2: an error of the command line
        raise SystemExit(f"{' '.join(arguments)} failed")
    cpu = usage.ru_utime + usage.ru_stime
    returned = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return {"cpu": cpu, "wall": wall} | returned


def worker(name):
    return [str(Path(__file__).resolve()), "--work", name]


def table(rows, repeats, first=None):
    """Medians of each row, and its ratios to the row `first` of the same turn."""
    turns = [{label: run() for label, run in rows.items()} for _ in range(repeats)]
    print(f"{'':38}{'CPU s':>8}{'s':>8}{'until draw':>12}{'compiled':>10}{'CPU x':>8}{'s x':>8}")
    for label in rows:

        def median(key, label=label):
            return statistics.median(turn[label].get(key, float("nan")) for turn in turns)

        line = f"{label:38}{median('cpu'):8.2f}{median('wall'):8.2f}"
        line += f"{median('seconds'):12.2f}{median('compilations'):10.0f}"
        if first is not None:
            for key in ("cpu", "wall"):
                ratios = [turn[label][key] / turn[first][key] for turn in turns]
                line += f"{statistics.median(ratios):8.2f}"
        print(line, flush=True)


def with_before(names, before):
    """Rows of works, each followed by the same in the other folder."""
    rows = {}
    for name in names:
        rows[name] = lambda name=name: measure(worker(name))
        if before is not None:
            rows[f"{name}, before"] = lambda name=name: measure(worker(name), before)
    return rows


def show(what, repeats, before):
    print(f"\n{what}")
    if what == "import":
        rows = with_before(["import_numpyro", "import_ours"], before)
        rows.pop("import_numpyro, before", None)
        table(rows, repeats, "import_numpyro")
    elif what == "command":
        main = "import sys, numpyro_score.cli as c; sys.exit(c.main(sys.argv[1:]))"
        error = ["compare", "--target", "funnel", "--kernel", "mela"]
        rows = {
            " ".join(typed): lambda typed=typed: measure(["-c", main, *typed])
            for typed in (["--help"], ["list"], error)
        }
        table(rows, repeats)
    elif what == "process":
        rows = with_before(["mcmc_nuts", "sample_mala", "mcmc_mala"], before)
        rows.pop("mcmc_nuts, before", None)
        table(rows, repeats, "mcmc_nuts")
    elif what == "kernels":
        table(with_before(KERNELS, before), repeats)
    elif what == "again":
        with tempfile.TemporaryDirectory() as folder:
            cache = {
                "JAX_COMPILATION_CACHE_DIR": folder,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
            rows = {"sample_mala, cached": lambda: measure(worker("sample_mala"), **cache)}
            measure(worker("sample_mala"), **cache)
            table(rows, repeats)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    every = ("import", "command", "process", "kernels", "again")
    parser.add_argument("what", nargs="*", help=f"of {', '.join(every)}; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work is not None:
        print(json.dumps(globals()[f"work_{args.work}"]() or {}))
        return
    unknown = set(args.what) - set(every)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for what in args.what or every:
        show(what, args.repeats, args.before)


if __name__ == "__main__":
    main()
