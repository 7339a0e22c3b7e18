"""Speed of `sample` against hand-written loops and against NumPyro's `MCMC`: one table.

    python examples/benchmarks/sampling.py [mala] [mcmc] [nuts] [zarr] [start]

Every row compares two things that run in turn in one process, compiled before; the ratio is the
median speed of ours over that of the other, over REPEATS turns. `mala`: steps a second against a
hand-written `vmap` and `lax.scan` that stores the same draws. `mcmc`: against
`numpyro.infer.MCMC(progress_bar=True)`. `nuts`: against `numpyro.infer.MCMC(progress_bar=False)`.
`zarr`: streamed to disk against kept in memory, and peak memory at 10,000 and 100,000 draws.
`start`: time before the first step of a second call.
"""

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import MCMC, NUTS

import numpyro_score as ns
from numpyro_score.targets import breast_cancer

REPEATS = 7
SECONDS = 2.0
"""Length of one timed run, about."""
STEP_SIZE = 0.3


def logdensity(x):
    """Standard Gaussian."""
    return -0.5 * jnp.sum(x**2)


def in_turn(ours: Callable[[int], float], other: Callable[[int], float]) -> tuple[float, float]:
    """Median seconds of both, after one turn that compiles."""
    times = [(ours(seed), other(seed)) for seed in range(REPEATS + 1)][1:]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


def show(work: str, ours: float, other: float, steps: int) -> None:
    """A row: microseconds a step of both, and the ratio."""
    scale = 1e6 / steps
    print(f"{work:44} {ours * scale:10.2f} {other * scale:10.2f} {other / ours:8.2f}", flush=True)


@partial(jax.jit, static_argnames="num_steps")
def by_hand(rng_key, start, num_steps):
    """MALA written out: all draws of all chains, in memory."""
    algorithm = ns.mala(logdensity, STEP_SIZE)

    def step(state, rng_key):
        keys = jax.random.split(rng_key, len(start))
        state, _ = jax.vmap(algorithm.step)(keys, state)
        return state, state.position

    state = jax.vmap(algorithm.init)(start)
    return jax.lax.scan(step, state, jax.random.split(rng_key, num_steps))[1]


def fixed_mala(dim: int) -> ns.MALA:
    """MALA that learns nothing."""
    return ns.MALA(
        logdensity_fn=logdensity,
        step_size=STEP_SIZE,
        inverse_mass_matrix=jnp.ones(dim),
        adapt_step_size=False,
        adapt_mass_matrix=False,
    )


def sampled(kernel, num_steps: int, start: jax.Array, seed: int, **options) -> float:
    """Seconds in which `sample` makes its steps, compilation and the start excluded."""
    tree = ns.sample(
        kernel,
        jax.random.key(seed),
        num_warmup=0,
        num_samples=num_steps,
        num_chains=len(start),
        init_params=start,
        **options,
    )
    return tree.attrs["seconds_sampling"]


def hand_made(num_steps: int, start: jax.Array, seed: int) -> float:
    """Seconds of the hand-written run."""
    began = time.perf_counter()
    np.asarray(by_hand(jax.random.key(seed), start, num_steps))
    return time.perf_counter() - began


def mala() -> None:
    """Against a hand-written scan."""
    for dim in (10, 100):
        for chains in (1, 64, 1024):
            start = jnp.zeros((chains, dim))
            trial = 256
            hand_made(trial, start, 0)
            pace = hand_made(trial, start, 1) / trial
            # no more than half a gigabyte of draws
            num_steps = int(min(SECONDS / pace, 2**29 / (4 * dim * chains)))
            ours, other = in_turn(
                partial(sampled, fixed_mala(dim), num_steps, start),
                partial(hand_made, num_steps, start),
            )
            show(f"MALA, d = {dim}, {chains} chains, against a scan", ours, other, num_steps)


def mcmc() -> None:
    """One chain with a progress bar, against NumPyro's MCMC with one."""
    dim, num_steps, theirs = 10, 1_000_000, 10_000
    start = jnp.zeros((1, dim))
    kernel = fixed_mala(dim)

    def numpyro_s(seed: int) -> float:
        runner = MCMC(kernel, num_warmup=0, num_samples=theirs, progress_bar=True)
        began = time.perf_counter()
        runner.run(jax.random.key(seed), init_params=start[0])
        return (time.perf_counter() - began) * num_steps / theirs

    ours, other = in_turn(partial(sampled, kernel, num_steps, start), numpyro_s)
    show("MALA, d = 10, 1 chain, against MCMC with a bar", ours, other, num_steps)


def nuts() -> None:
    """NUTS on a logistic regression, against NumPyro's MCMC without a bar."""
    target = breast_cancer()
    lengths = {"num_warmup": 500, "num_samples": 500, "num_chains": 4}
    theirs = MCMC(NUTS(target.model), chain_method="vectorized", progress_bar=False, **lengths)
    kernel = NUTS(target.model)

    def numpyro_s(seed: int) -> float:
        began = time.perf_counter()
        theirs.run(jax.random.key(seed), *target.model_args, **target.model_kwargs)
        jax.block_until_ready(theirs.get_samples())
        return time.perf_counter() - began

    def ours(seed: int) -> float:
        began = time.perf_counter()
        ns.sample(
            kernel,
            jax.random.key(seed),
            model_args=target.model_args,
            model_kwargs=target.model_kwargs,
            **lengths,
        )
        return time.perf_counter() - began

    show("NUTS, breast cancer, 4 chains, against MCMC", *in_turn(ours, numpyro_s), 1000)


def zarr() -> None:
    """Streamed to disk against kept in memory; memory against the number of draws."""
    dim, chains, num_steps = 100, 64, 20_000
    start = jnp.zeros((chains, dim))
    kernel = fixed_mala(dim)
    with tempfile.TemporaryDirectory() as folder:

        def streamed(seed: int) -> float:
            path = Path(folder) / "run.zarr"
            shutil.rmtree(path, ignore_errors=True)
            began = time.perf_counter()
            sampled(kernel, num_steps, start, seed, store=path)
            return time.perf_counter() - began

        def kept(seed: int) -> float:
            began = time.perf_counter()
            sampled(kernel, num_steps, start, seed)
            return time.perf_counter() - began

        ours, other = in_turn(streamed, kept)
        show("64 chains, d = 100, to Zarr against in memory", ours, other, num_steps)
        for num_draws in (10_000, 100_000):
            path = Path(folder) / f"{num_draws}.zarr"
            child = [sys.executable, __file__, "child", str(num_draws), str(path)]
            peak = subprocess.run(child, check=True, capture_output=True, text=True).stdout
            print(f"peak memory of {num_draws:,} draws to Zarr, 64 chains, d = 100: {peak.strip()}")
            shutil.rmtree(path)


def child(num_draws: str, path: str) -> None:
    """A streamed run in a process of its own, which prints the most memory it had."""
    sampled(fixed_mala(100), int(num_draws), jnp.zeros((64, 100)), 0, store=path, progress=False)
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def start() -> None:
    """Time of a second call that draws next to nothing: what comes before the first step."""
    for dim, dense in ((10, False), (100, True)):
        kernel = ns.MALA(logdensity_fn=logdensity, dense_mass=dense)
        points = jnp.zeros((64, dim))
        seconds = []
        for seed in range(REPEATS + 1):
            tree = ns.sample(
                kernel,
                jax.random.key(seed),
                num_warmup=10,
                num_samples=10,
                num_chains=64,
                init_params=points,
                progress=False,
            )
            seconds.append(tree.attrs["seconds_compile"])
        again = statistics.median(seconds[1:])
        print(
            f"before the first step, d = {dim}, 64 chains: first call {seconds[0]:.2f} s, "
            f"later ones {1000 * again:.1f} ms"
        )


PARTS = {part.__name__: part for part in (mala, mcmc, nuts, zarr, start)}


def main() -> None:
    """Print the rows that were asked for, by default all."""
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
        return
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, medians of {REPEATS}")
    print(f"{'work':44} {'ours us':>10} {'other us':>10} {'ratio':>8}")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
