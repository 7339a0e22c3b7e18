"""`fit` against hand-written training loops: ratios of their times for the same steps.

    python examples/benchmarks/training.py [--torch-python PATH] [--quick]

All train the same network (fully connected, 128 x 3) on the same points by the same loss (denoising
score matching at log-uniform noise levels) with Adam, in turn, in one run. A ratio is the median
over the repeats of their time over that of `fit`, so that more than 1 is slower than `fit`; the
last column, of the fastest repeats, suffers less from what else the machine does.

    equinox    one `eqx.filter_jit` call a step, which draws its batch on the device
    scan       the same step in one `jax.lax.scan`
    defaults   `fit` as it comes: clipped Adam, running average, held-out loss
    pytorch    the same in PyTorch on the CPU, with one thread and with all, by the Python whose
               path is given: it runs in a process of its own, which waits while the others do

The second part trains a score by the implicit and by the sliced loss, as the dimension grows.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from numpyro_score.noise import VE
from numpyro_score.training import fit
from numpyro_score.training.losses import (
    ContinuousDenoising,
    SlicedScoreMatching,
    implicit_score_matching,
)

NUM, DIM, WIDTH, DEPTH = 5000, 2, 128, 3
NOISE = VE(0.01, 20.0)
ADAM = optax.adam(1e-3)
REPEATS = 9
STEPS = {64: 4000, 512: 1000}
"""Batch size -> steps of one timed training; the loops that are timed by the step make a tenth."""

TORCH = """
import json, math, sys, time
import torch

num, dim, width, depth = json.loads(sys.stdin.readline())
torch.manual_seed(0)
data = torch.randn(num, dim)

def train(batch_size, num_steps, threads):
    torch.set_num_threads(threads)
    layers = [torch.nn.Linear(dim + 1, width), torch.nn.SiLU()]
    for _ in range(depth - 1):
        layers += [torch.nn.Linear(width, width), torch.nn.SiLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(width, dim))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    start = time.perf_counter()
    for _ in range(num_steps):
        x = data[torch.randint(num, (batch_size,))]
        t = (torch.arange(batch_size) + torch.rand(())) / batch_size
        sigma = (0.01 * 2000.0**t)[:, None]
        z = torch.randn_like(x)
        noised = (x + sigma * z) / torch.sqrt(1 + sigma**2)
        predicted = model(torch.cat([noised, t[:, None]], 1))
        loss = ((predicted - z) ** 2).sum(1).mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start

print(json.dumps(torch.__version__), flush=True)
for line in sys.stdin:
    print(json.dumps(train(*json.loads(line))), flush=True)
"""


class Noise(eqx.Module):
    """A network of the noised point and the time that predicts the noise."""

    mlp: eqx.nn.MLP

    def predict_noise(self, x, t):
        """`E[z | x_t = x]`."""
        scaled = x / jnp.sqrt(1 + NOISE.variance(t))
        return self.mlp(jnp.append(scaled, t))

    def __call__(self, x, t):
        """The score."""
        return -self.predict_noise(x, t) / NOISE.sigma(t)


class Static(eqx.Module):
    """A network that is a score by itself."""

    mlp: eqx.nn.MLP

    def __call__(self, x):
        """The score."""
        return self.mlp(x)


def mlp(size_in, size_out):
    """The network that all train."""
    return eqx.nn.MLP(size_in, size_out, WIDTH, DEPTH, jax.nn.silu, key=jax.random.key(0))


class Torch:
    """A process with PyTorch, told what to time; None of its times without one."""

    def __init__(self, python):
        self.process = None
        self.name = "not installed"
        if python is None:
            return
        try:
            self.process = subprocess.Popen(
                [python, "-c", TORCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self.name = self.ask([NUM, DIM, WIDTH, DEPTH])
        except (OSError, ValueError):
            self.process = None

    def ask(self, question):
        """One line there, one back."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def train(self, batch_size, num_steps, threads):
        """Seconds of so many steps."""
        return self.ask([batch_size, num_steps, threads])


def trainings(batch_size, num_steps, data, torch):
    """Name -> (function that trains, steps that it makes)."""
    model, loss = Noise(mlp(DIM + 1, DIM)), ContinuousDenoising(NOISE)
    params, static = eqx.partition(model, eqx.is_inexact_array)
    key = jax.random.key(1)

    def step(params, state, rng_key):
        key_batch, key_loss = jax.random.split(rng_key)
        batch = data[jax.random.randint(key_batch, (batch_size,), 0, NUM)]
        value, grads = jax.value_and_grad(
            lambda params: loss(eqx.combine(params, static), batch, key_loss)
        )(params)
        updates, state = ADAM.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    one_step = eqx.filter_jit(step)

    @jax.jit
    def scanned(params, state, keys):
        def body(carry, rng_key):
            params, state, value = step(*carry, rng_key)
            return (params, state), value

        return jax.lax.scan(body, (params, state), keys)

    def by_step():
        now, state, rng_key = params, ADAM.init(params), key
        for _ in range(num_steps // 10):
            rng_key, key_step = jax.random.split(rng_key)
            now, state, value = one_step(now, state, key_step)
        jax.block_until_ready(value)

    def by_scan():
        keys = jax.random.split(key, num_steps)
        jax.block_until_ready(scanned(params, ADAM.init(params), keys))

    def by_fit():
        fit(
            model,
            data,
            loss,
            rng_key=key,
            num_steps=num_steps,
            batch_size=batch_size,
            optimizer=ADAM,
            ema=None,
            validation_fraction=0.0,
            progress=False,
        )

    def by_default():
        fit(
            model,
            data,
            loss,
            rng_key=key,
            num_steps=num_steps,
            batch_size=batch_size,
            progress=False,
        )

    all_of_them = {
        "fit": (by_fit, num_steps),
        "equinox": (by_step, num_steps // 10),
        "scan": (by_scan, num_steps),
        "defaults": (by_default, num_steps),
    }
    if torch.process is not None:
        for threads in sorted({1, os.cpu_count()}):
            all_of_them[f"pytorch, {threads}"] = (
                partial(torch.train, batch_size, num_steps // 40, threads),
                num_steps // 40,
            )
    return all_of_them


def seconds(train):
    """Wall time of one training."""
    start = time.perf_counter()
    train()
    return time.perf_counter() - start


def against_loops(torch, repeats):
    """The first table."""
    data = jax.random.normal(jax.random.key(2), (NUM, DIM))
    print(f"\nmicroseconds a step and time over that of fit, median of {repeats}")
    print(f"{'batch':>6} {'':>12} {'us':>8} {'ratio':>7} {'quartiles':>16} {'of fastest':>11}")
    for batch_size, num_steps in STEPS.items():
        jobs = trainings(batch_size, num_steps, data, torch)
        for train, _ in jobs.values():
            train()  # compiles
        times = {name: [] for name in jobs}
        for _ in range(repeats):
            for name, (train, steps) in jobs.items():
                times[name].append(seconds(train) / steps)
        for name, of_it in times.items():
            ratios = [a / b for a, b in zip(of_it, times["fit"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"{batch_size:6} {name:>12} {1e6 * statistics.median(of_it):8.0f} {middle:7.2f} "
                f"{low:7.2f} to {high:5.2f} {min(of_it) / min(times['fit']):11.2f}",
                flush=True,
            )


def implicit_against_sliced(repeats):
    """The second table."""
    batch_size, num_steps = 128, 200
    losses = {"implicit": implicit_score_matching, "sliced": SlicedScoreMatching()}
    print(f"\nmicroseconds a step by dimension, batch {batch_size}, median of {repeats}")
    print(f"{'d':>6} {'implicit':>9} {'sliced':>9} {'ratio':>7}")
    for dim in (2, 4, 8, 16, 32, 64, 128, 256):
        data = jax.random.normal(jax.random.key(3), (NUM, dim))
        model = Static(mlp(dim, dim))

        def train(loss, steps, data=data, model=model):
            fit(
                model,
                data,
                loss,
                rng_key=jax.random.key(4),
                num_steps=steps,
                batch_size=batch_size,
                optimizer=ADAM,
                validation_fraction=0.0,
                progress=False,
            )

        times = {name: [] for name in losses}
        steps = {}
        for name, loss in losses.items():
            train(loss, 1)  # compiles
            pace = seconds(partial(train, loss, 20)) / 20
            steps[name] = min(max(int(0.3 / pace), 10), num_steps)
        for _ in range(repeats):
            for name, loss in losses.items():
                times[name].append(seconds(partial(train, loss, steps[name])) / steps[name])
        implicit, sliced = (1e6 * statistics.median(times[name]) for name in losses)
        print(f"{dim:6} {implicit:9.0f} {sliced:9.0f} {implicit / sliced:7.1f}", flush=True)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch-python", help="a Python that can import torch")
    parser.add_argument("--quick", action="store_true", help="5 repeats")
    args = parser.parse_args()
    repeats = 5 if args.quick else REPEATS
    torch = Torch(args.torch_python or sys.executable)
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}; PyTorch: {torch.name}")
    against_loops(torch, repeats)
    implicit_against_sliced(min(repeats, 5))
    if torch.process is not None:
        torch.process.stdin.close()
        torch.process.wait()


if __name__ == "__main__":
    main()
