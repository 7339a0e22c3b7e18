"""Consistency models beside the samplers that they replace: mixtures and digits.

    python examples/benchmarks/consistency.py [mixtures] [digits] [--dims 2 10] [--seeds N]
        [--picture FILE]

1. mixtures: sliced Wasserstein distance, mode weights and draws a second in 2 and 10 dimensions, by
   DPM-Solver++ in 20 evaluations and by a model that was distilled from the same score; medians
   over trainings, each with its own data.
2. digits: a classifier's confidence in draws of one and two calls, and the distillation's time.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from samplers import in_exact_shares, mixture, sliced
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from numpyro_score.noise import VE
from numpyro_score.samplers import consistency, dpm_solver, edm_times, probability_flow
from numpyro_score.scores import ConsistencyModel, ConvNet, ResidualMLP, ScoreNetwork
from numpyro_score.training import cosine_adam, fit
from numpyro_score.training.losses import ConsistencyDistillation, ContinuousDenoising

# -- 1. mixtures -----------------------------------------------------------------------------------

MIDDLE = partial(edm_times, rho=100.0)
"""Grid of two steps whose second starts at the geometric mean of the largest and least noise."""


def shares(draws, model):
    """Share of the draws in each mode."""
    logs = jax.vmap(model.component_log_probs, (0, None))(jnp.asarray(draws), 0.0)
    return np.bincount(np.asarray(logs).argmax(axis=1), minlength=4) / len(draws)


def fastest(sampler, num, repeats=5):
    """Seconds of the fastest of several runs, compiled before."""
    sampler.sample(jax.random.key(0), num)
    seconds = []
    for i in range(repeats):
        began = time.perf_counter()
        sampler.sample(jax.random.key(i), num)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def of_mixture(dim, seed, num=50_000, repeats=3):
    """Rows of name, evaluations, distances, worst error of a weight, draws a second."""
    noise = VE(sigma_min=0.02, sigma_max=40.0)
    truth = mixture(dim, noise)
    weights = np.exp(np.asarray(truth.log_weights.array))
    key, key_teacher, key_model = (jax.random.key(100 * seed + i) for i in range(3))
    data = np.asarray(truth.sample(key, 20_000))
    network = ResidualMLP(dim, 128, 3, rng_key=key)
    began = time.process_time()
    teacher, _ = fit(
        ScoreNetwork(network, noise, data),
        data,
        ContinuousDenoising(),
        rng_key=key_teacher,
        num_steps=8000,
        progress=False,
    )
    between = time.process_time()
    model, _ = fit(
        ConsistencyModel(teacher),
        data,
        ConsistencyDistillation(teacher),
        rng_key=key_model,
        num_steps=3000,
        optimizer=cosine_adam(1e-3),
        progress=False,
    )
    ended = time.process_time()
    print(
        f"{dim} dimensions, seed {seed}: CPU seconds {between - began:.0f}, "
        f"distillation {ended - between:.0f}"
    )
    samplers = {
        "DPM-Solver++": probability_flow(teacher, noise, (dim,), num_steps=20, method=dpm_solver),
        "one step": consistency(model, noise, (dim,)),
        "two steps": consistency(model, noise, (dim,), num_steps=2, grid=MIDDLE),
        "two steps, EDM": consistency(model, noise, (dim,), num_steps=2, grid=edm_times),
    }
    references = [in_exact_shares(truth, weights, num, 50 + i) for i in range(repeats)]
    exact = [np.asarray(truth.sample(jax.random.key(90 + i), num)) for i in range(repeats)]
    floor = [sliced(x[: len(y)], y) for x, y in zip(exact, references, strict=True)]
    rows = [("exact draws", 0, floor, abs(shares(exact[0], truth) - weights).max(), 0.0)]
    for name, sampler in samplers.items():
        draws = [sampler.sample(jax.random.key(i), num) for i in range(repeats)]
        found = [sliced(x[: len(y)], y) for x, y in zip(draws, references, strict=True)]
        worst = max(abs(shares(x, truth) - weights).max() for x in draws)
        rows.append((name, sampler.evaluations, found, worst, num / fastest(sampler, num)))
    return rows


def print_mixtures(dims, seeds):
    """Rows of each training, and medians over trainings."""
    for dim in dims:
        measured = {}
        for seed in range(seeds):
            rows = of_mixture(dim, seed)
            base = {name: (np.mean(found), speed) for name, _, found, _, speed in rows}
            distance, rate = base["DPM-Solver++"]
            for name, calls, found, worst, speed in rows:
                figures = np.mean(found), np.mean(found) / distance, worst, speed / rate
                measured.setdefault((name, calls), []).append(figures)
                print_row(name, calls, figures)
        print(f"medians of {seeds} trainings")
        for (name, calls), figures in measured.items():
            print_row(name, calls, np.median(figures, axis=0))


def print_row(name, calls, figures):
    distance, ratio, worst, speed = figures
    print(
        f"{name:>14} {calls:3d} distance {distance:.4f}, ratio {ratio:.2f}; "
        f"weights within {worst:.3f}; draws a second x {speed:.1f}",
        flush=True,
    )


# -- 2. digits -------------------------------------------------------------------------------------

SHAPE = (1, 8, 8)


def digits():
    """Images in [-1, 1], and a classifier trained on some of them."""
    grey, labels = load_digits(return_X_y=True)
    flat = np.float32(grey / 8 - 1)
    order = np.random.default_rng(0).permutation(len(flat))
    blurred = flat[order] + 0.1 * np.random.default_rng(1).normal(size=flat.shape)
    judge = MLPClassifier((128,), max_iter=300, random_state=0)
    judge.fit(blurred[:1500], labels[order[:1500]])
    return flat.reshape(-1, *SHAPE), judge


def judged(judge, draws):
    """Mean confidence, and the number of classes."""
    probabilities = judge.predict_proba(np.asarray(draws).reshape(len(draws), -1))
    return probabilities.max(axis=1).mean(), len(np.unique(probabilities.argmax(axis=1)))


def pixel_score(images, num_steps=700):
    """The score of `examples/digits.py`, and CPU seconds of its training."""
    noise = VE(sigma_min=0.03, sigma_max=20.0)
    network = ConvNet(SHAPE, width=16, rng_key=jax.random.key(0))
    began = time.process_time()
    score, history = fit(
        ScoreNetwork(network, noise, images, axis=(0, 2, 3), finest=0.0),
        images,
        ContinuousDenoising(),
        rng_key=jax.random.key(1),
        num_steps=num_steps,
        batch_size=128,
        validation_fraction=0.0,
        progress=False,
    )
    return score, time.process_time() - began, history.attrs["seconds"]


def print_digits(picture, seeds, num=600, num_steps=600):
    """One teacher, and figures of several distillations."""
    images, judge = digits()
    score, cpu, seconds = pixel_score(images)
    print(f"teacher: {cpu:.0f} CPU s, {seconds:.0f} s")
    flow = probability_flow(
        score, score.noise, SHAPE, num_steps=19, method=dpm_solver, denoise=True
    )
    drawn = {"real": images[:num], "DPM-Solver++, 20": flow.sample(jax.random.key(3), num)}
    print_judged(judge, images, drawn)
    for seed in range(seeds):
        began = time.process_time()
        model, history = fit(
            ConsistencyModel(score),
            images,
            ConsistencyDistillation(score),
            rng_key=jax.random.key(10 + seed),
            num_steps=num_steps,
            batch_size=64,
            optimizer=cosine_adam(1e-3),
            validation_fraction=0.0,
            progress=False,
        )
        cpu = time.process_time() - began
        print(
            f"seed {seed}: {num_steps} steps, {cpu:.0f} CPU s, {history.attrs['seconds']:.0f} s",
            flush=True,
        )
        steps = partial(consistency, model, score.noise, SHAPE)
        new = {
            name: sampler.sample(jax.random.key(20 + seed), num)
            for name, sampler in {
                "one step": steps(),
                "two steps": steps(num_steps=2, grid=MIDDLE),
                "two steps, EDM": steps(num_steps=2, grid=edm_times),
            }.items()
        }
        print_judged(judge, images, new)
        if seed == 0 and picture is not None:
            draw_digits(
                {**drawn, **{name: new[name] for name in ("one step", "two steps")}}, picture
            )


def print_judged(judge, images, drawn):
    """Confidence, classes, and the sliced distance to the real digits."""
    real = images.reshape(len(images), -1)
    for name, x in drawn.items():
        confidence, classes = judged(judge, x)
        flat = np.asarray(x).reshape(len(x), -1)
        others = real[np.random.default_rng(0).permutation(len(real))[: len(x)]]
        print(
            f"{name:>18}: confidence {confidence:.3f}, {classes} classes, sliced distance "
            f"{sliced(flat, others):.4f}",
            flush=True,
        )


def draw_digits(drawn, picture):
    """A grid of images for each name."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(drawn), figsize=(9, 3), layout="constrained")
    for axis, (name, x) in zip(axes, drawn.items(), strict=True):
        border = ((0, 0), (0, 0), (1, 1), (1, 1))
        grid = np.pad(np.asarray(x)[:48].reshape(8, 6, 8, 8), border, constant_values=-1.0)
        tiles = grid.swapaxes(1, 2).reshape(80, 60)
        axis.imshow(tiles, cmap="gray_r", vmin=-1, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=9)
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["mixtures", "digits"])
    parser.add_argument("--dims", nargs="+", type=int, default=[2, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if "mixtures" in options.parts:
        print_mixtures(options.dims, options.seeds)
    if "digits" in options.parts:
        print_digits(options.picture, options.seeds)
