"""The hot paths on the accelerator that JAX finds, compared with the card's own rates.

    python examples/benchmarks/gpu.py [--chains 100000] [--dim 100] [--steps 2000] [--batch 8192]

First the card: the rates at which it copies memory and multiplies matrices. Then each path: its
throughput, and its least necessary memory traffic or arithmetic as a share of the card's rate. The
last column comes from a profile of a whole run: the share of the time in which the device was busy.
For the rest of the time it waited for the host. Paths: Markov chains, training a score network by
denoising, and draws of it by the reverse SDE.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.profiler import ProfileData

import numpyro_score as ns
from numpyro_score.noise import VE
from numpyro_score.samplers import reverse_sde
from numpyro_score.scores import ResidualMLP, ScoreNetwork
from numpyro_score.training import fit
from numpyro_score.training.losses import ContinuousDenoising

REPEATS = 5
FLOAT = 4
"""Bytes of a number."""
SDE_STEPS = 20
"""Steps of the reverse SDE, each one call of the network."""


def fastest(run: Callable[[], Any]) -> float:
    """Least seconds of a few runs, after one that compiles."""
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def copy_rate(num_bytes: int) -> float:
    """Bytes a second read and written by a copy."""
    x = jnp.zeros(num_bytes // FLOAT)
    copy = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / fastest(lambda: copy(x))


def matrix_rate(size: int) -> float:
    """Operations a second of a matrix product in single precision, as JAX does it by default."""
    x = jnp.ones((size, size))
    product = jax.jit(lambda x: x @ x)
    return 2 * size**3 / fastest(lambda: product(x))


def busy_intervals(profile: ProfileData) -> Iterator[tuple[float, float]]:
    """When the device was at work, in nanoseconds: its streams, or the CPU's execution threads."""
    devices = [plane for plane in profile.planes if plane.name.startswith("/device:")]
    lines = [line for plane in devices for line in plane.lines if line.name.startswith("Stream")]
    if not lines:
        host = (plane for plane in profile.planes if plane.name == "/host:CPU")
        lines = [x for plane in host for x in plane.lines if x.name.startswith("tf_XLA")]
    for line in lines:
        for event in line.events:
            if event.duration_ns > 0:
                yield event.start_ns, event.start_ns + event.duration_ns


def busy_share(run: Callable[[], Any]) -> float:
    """Share of the time between a run's first and last work on the device that is work."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            jax.block_until_ready(run())
        (file,) = Path(folder).rglob("*.xplane.pb")
        intervals = sorted(busy_intervals(ProfileData.from_file(str(file))))
    busy, end = 0.0, intervals[0][0]
    for begin, stop in intervals:
        busy += max(stop - max(begin, end), 0.0)
        end = max(end, stop)
    return busy / (end - intervals[0][0])


def show(path: str, rate: str, share: str, busy: float) -> None:
    """A row of the table."""
    print(f"{path:44} {rate:>28} {share:>24} {100 * busy:11.1f}%", flush=True)


def chains(kernel: Any, name: str, args: argparse.Namespace, bandwidth: float) -> None:
    """Steps of a kernel without warmup, one draw in fifty kept."""
    start = jnp.zeros((args.chains, args.dim))

    def run(num_steps: int) -> Any:
        return ns.sample(
            kernel,
            jax.random.key(0),
            num_warmup=0,
            num_samples=num_steps,
            num_chains=args.chains,
            init_params=start,
            thinning=min(50, num_steps),
            progress=False,
        )

    run(args.steps)
    seconds = min(run(args.steps).attrs["seconds_sampling"] for _ in range(REPEATS)) / args.steps
    # position and gradient are read and written; everything else could stay in registers
    needed = 4 * start.size * FLOAT
    busy = busy_share(lambda: run(args.steps).attrs["seconds_sampling"])
    show(
        f"{name}, {args.chains:,} chains, d = {args.dim}",
        f"{args.chains / seconds:.3g} chain steps/s",
        f"{100 * needed / seconds / bandwidth:.0f}% of the copy rate",
        busy,
    )


def training(args: argparse.Namespace, arithmetic: float) -> ScoreNetwork:
    """Steps of `fit`, for a small batch and a large one; the network, trained by the last."""
    noise = VE(0.01, 20.0)
    network = ResidualMLP(args.dim, width=args.width, rng_key=jax.random.key(0))
    model = ScoreNetwork(network, noise)
    num_weights = sum(x.size for x in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array)))
    data = jax.random.normal(jax.random.key(1), (max(20_000, args.batch), args.dim))
    loss, trained = ContinuousDenoising(noise), model
    for batch_size in (min(512, args.batch), args.batch):

        def run(batch_size: int = batch_size) -> Any:
            return fit(
                model,
                data,
                loss,
                rng_key=jax.random.key(2),
                num_steps=args.steps,
                batch_size=batch_size,
                validation_fraction=0.0,
                progress=False,
            )

        trained = run().model
        seconds = min(run().history.attrs["seconds"] for _ in range(REPEATS)) / args.steps
        # two operations a weight and point forward, four backward
        needed = 6 * num_weights * batch_size
        show(
            f"fit, batch {batch_size:,}, d = {args.dim}, width {args.width}",
            f"{batch_size / seconds:.3g} points/s",
            f"{100 * needed / seconds / arithmetic:.1f}% of products",
            busy_share(lambda: run().model),
        )
    return trained


def draws(model: ScoreNetwork, args: argparse.Namespace, arithmetic: float) -> None:
    """Draws of the network by the reverse SDE."""
    sampler = reverse_sde(model, VE(0.01, 20.0), (args.dim,), num_steps=SDE_STEPS)

    def run() -> Any:
        return sampler.sample(jax.random.key(3), args.chains, progress=False)

    seconds = fastest(run)
    num_weights = sum(x.size for x in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    needed = 2 * num_weights * args.chains * SDE_STEPS
    show(
        f"reverse SDE, {args.chains:,} draws, {SDE_STEPS} steps",
        f"{args.chains / seconds:.3g} draws/s",
        f"{100 * needed / seconds / arithmetic:.1f}% of products",
        busy_share(run),
    )


def main(argv: list[str] | None = None) -> None:
    """Print the card's own rates, then a row a path."""
    parser = argparse.ArgumentParser(description="Throughput on an accelerator.")
    parser.add_argument("--chains", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--copy-bytes", type=int, default=2**30)
    parser.add_argument("--matrix", type=int, default=8192)
    args = parser.parse_args(argv)
    bandwidth, arithmetic = copy_rate(args.copy_bytes), matrix_rate(args.matrix)
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    print(f"copies {bandwidth / 1e9:.0f} GB/s, multiplies {arithmetic / 1e12:.2f} Tflop/s")
    print(f"{'path':44} {'throughput':>28} {'of the card':>24} {'device busy':>12}")

    def logdensity(x: jax.Array) -> jax.Array:
        return -0.5 * jnp.sum(x**2)

    frozen: dict[str, Any] = {
        "step_size": 0.3,
        "inverse_mass_matrix": jnp.ones(args.dim),
        "adapt_step_size": False,
        "adapt_mass_matrix": False,
    }
    chains(ns.MALA(logdensity_fn=logdensity, **frozen), "MALA", args, bandwidth)
    walk = ns.RandomWalkMetropolis(logdensity_fn=logdensity, **frozen)
    chains(walk, "random walk", args, bandwidth)
    draws(training(args, arithmetic), args, arithmetic)


if __name__ == "__main__":
    main()
