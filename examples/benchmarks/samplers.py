"""Accuracy and speed of the samplers: four tables, on targets whose distribution is known.

    python examples/benchmarks/samplers.py [error] [toy] [quality] [speed] [--picture FILE]

1. error: the exact score of a mixture on the line plus a known error; total variation between draws
   and the target against the size of the error, with the theoretical bound.
2. toy: modes of weights .2 and .8 at (-5, -5) and (5, 5): the share of the larger one by Langevin
   dynamics, annealed Langevin, the reverse SDE and the flow, with the exact and a learned score.
3. quality: sliced Wasserstein distance to the truth by method and number of evaluations.
4. speed: `reverse_sde` beside a scan written by hand, Diffrax, and the network's arithmetic alone.
"""

import argparse
import statistics
import time
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from numpyro_score.noise import VE, VP
from numpyro_score.samplers import (
    ancestral,
    annealed_langevin,
    dpm_solver,
    dpm_solver_sde,
    edm_times,
    euler_maruyama,
    heun,
    probability_flow,
    reverse_sde,
    uniform_times,
)
from numpyro_score.scores import GaussianMixtureScore, ResidualMLP, ScoreNetwork, target_score
from numpyro_score.targets import two_modes
from numpyro_score.training import fit
from numpyro_score.training.losses import ContinuousDenoising

# -- 1. error --------------------------------------------------------------------------------------

ERRORS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
FORMS = {
    "shift": lambda x, s, sigma: jnp.ones_like(x) / sigma,
    "wave": lambda x, s, sigma: jnp.sqrt(2.0) * jnp.sin(2 * x / jnp.sqrt(1 + sigma**2)) / sigma,
    "scale": lambda x, s, sigma: s,
}


def total_variation(draws, model, num_bins=80):
    """Of a histogram to the mixture's masses of the same bins."""
    edges = np.linspace(-6.0, 6.0, num_bins + 1)
    fine = np.linspace(-6.0, 6.0, 20 * num_bins + 1)
    middle = (fine[1:] + fine[:-1]) / 2
    log_probs = jax.vmap(model.log_prob, (0, None))(jnp.asarray(middle)[:, None], 1e-3)
    mass = np.exp(np.asarray(log_probs)).reshape(num_bins, 20).sum(axis=1) * (fine[1] - fine[0])
    found = np.histogram(draws[:, 0], edges)[0] / len(draws)
    # beyond the bins on either side
    return (np.abs(found - mass).sum() + abs(mass.sum() - found.sum())) / 2


def score_error(num=400_000, num_steps=60):
    """Form -> rows of score error, total variation and the bound of theory; and the floor."""
    noise = VP()
    model = GaussianMixtureScore([0.3, 0.7], [[-2.0], [1.5]], np.array([0.4, 0.6]), noise)
    times = jnp.linspace(1e-3, 1.0, 200)
    clean = model.sample(jax.random.key(9), 4000)
    noises = jax.random.normal(jax.random.key(8), clean.shape)
    floor = total_variation(np.asarray(model.sample(jax.random.key(7), num)), model)

    def wrong(form, size, x, t):
        score = model(x, t)
        return score + size * form(x, score, noise.sigma(t))

    def squared(form, t):
        x = noise.alpha(t) * clean + noise.sigma(t) * noises
        scores = jax.vmap(model, (0, None))(x, t)
        gap = jax.vmap(partial(form, sigma=noise.sigma(t)))(x, scores)
        return noise.squared_diffusion(t) * jnp.mean(jnp.sum(gap**2, axis=-1))

    rows = {}
    for name, form in FORMS.items():
        # of a perturbation of size 1: the root of int g^2 E|s - s*|^2 dt
        rate = np.asarray(jax.lax.map(partial(squared, form), times))
        unit = float(np.sqrt(np.trapezoid(rate, np.asarray(times))))
        rows[name] = []
        for error in ERRORS:
            sampler = reverse_sde(
                jax.tree_util.Partial(partial(wrong, form), error / unit),
                noise,
                (1,),
                num_steps=num_steps,
                data_mean=0.45,
                data_sd=1.76,
            )
            draws = sampler.sample(jax.random.key(0), num, batch_size=num // 4)
            # Girsanov's and Pinsker's inequalities: TV <= sqrt(KL / 2), KL <= error^2 / 2
            rows[name].append((error, total_variation(draws, model), error / 2))
    return rows, floor


def draw_error(rows, floor, path):
    """The picture of the first table."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(4.5, 3.2))
    for name, of_form in rows.items():
        axis.plot(*np.array(of_form).T[:2], "o-", label=name, markersize=3)
    axis.plot(ERRORS, np.array(ERRORS) / 2, "k--", label="bound", linewidth=1)
    axis.axhline(floor, color="grey", linewidth=1, label="exact draws")
    axis.set_xlabel("error of the score")
    axis.set_ylabel("total variation of the draws")
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def print_error(path):
    rows, floor = score_error()
    print(f"\n1. total variation by error of the score; of exact draws {floor:.4f}")
    print(f"{'error':>8} {'bound':>8}" + "".join(f"{name:>9}" for name in rows))
    for i, error in enumerate(ERRORS):
        found = "".join(f"{of_form[i][1]:9.4f}" for of_form in rows.values())
        print(f"{error:8.2f} {error / 2:8.4f}{found}")
    for name, of_form in rows.items():
        error, found, _ = np.array(of_form).T
        slope = float(error @ found / (error @ error))
        line = np.corrcoef(error, found)[0, 1] ** 2
        print(f"  {name}: {slope:.3f} a unit of error, R^2 of a straight line {line:.4f}")
    if path is not None:
        draw_error(rows, floor, path)


# -- 2. toy ----------------------------------------------------------------------------------------


def langevin(score, t, num, num_steps=1000, step=0.05):
    """Langevin dynamics without levels, started uniformly."""

    def one(key):
        key_start, key = jax.random.split(key)
        start = jax.random.uniform(key_start, (2,), minval=-8.0, maxval=8.0)

        def body(x, key):
            z = jax.random.normal(key, (2,))
            return x + step * score(x, t) + jnp.sqrt(2 * step) * z, None

        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), num)))


def toy(num=8000, num_steps=3000, seeds=2):
    """Rows of sampler, evaluations, share with the exact and with learned scores."""
    noise = VE(sigma_min=0.05, sigma_max=20.0)
    exact = target_score(two_modes(), noise)
    scores = {"exact": exact}
    for seed in range(seeds):
        data = np.asarray(exact.sample(jax.random.key(100 + seed), 20_000))
        network = ResidualMLP(2, rng_key=jax.random.key(seed))
        model = ScoreNetwork(network, noise, data)
        scores[f"learned {seed}"] = fit(
            model,
            data,
            ContinuousDenoising(),
            rng_key=jax.random.key(10 + seed),
            num_steps=num_steps,
            progress=False,
        ).model

    def annealed(score, sigmas, steps, eps):
        return annealed_langevin(
            score, sigmas, (2,), steps_per_level=steps, step_size=eps, noise=noise
        )

    makers = {
        "annealed, 10 levels to 1": lambda s: annealed(s, np.geomspace(20, 1, 10), 100, 0.1),
        "annealed, 28 levels to .05": lambda s: annealed(
            s, np.geomspace(20, 0.05, 28), 20, 0.5 * 0.05**2
        ),
        "reverse SDE": lambda s: reverse_sde(s, noise, (2,), num_steps=100),
        "probability flow": lambda s: probability_flow(s, noise, (2,), num_steps=20),
    }
    rows = {}
    for name, make in makers.items():
        shares = []
        for score in scores.values():
            sampler = make(score)
            draws = sampler.sample(jax.random.key(0), num)
            shares.append(float((draws.sum(axis=1) > 0).mean()))
        rows[name] = (sampler.evaluations, shares)
    draws = langevin(exact, 0.0, num)
    rows["Langevin, no levels"] = (1000, [float((draws.sum(axis=1) > 0).mean())])
    return rows


def print_toy():
    print("\n2. share of the larger mode, truly .8; 8,000 draws, standard error .0045")
    print(f"{'':>28} {'evaluations':>12} {'exact':>8}  learned")
    for name, (evaluations, shares) in toy().items():
        learned = "  ".join(f"{share:.3f}" for share in shares[1:])
        print(f"{name:>28} {evaluations:12} {shares[0]:8.3f}  {learned}")


# -- 3. quality ------------------------------------------------------------------------------------


def mixture(dim, noise):
    """Four modes, in 2 or 10 dimensions."""
    corners = np.array([[-5.0, -5.0], [5.0, 5.0], [-5.0, 5.0], [5.0, -5.0]])
    means = corners if dim == 2 else np.random.default_rng(0).uniform(-8, 8, (4, dim))
    return GaussianMixtureScore([0.1, 0.2, 0.3, 0.4], means, 1.0, noise)


def sliced(x, y, num_lines=200):
    """Mean over random directions of the first Wasserstein distance along them."""
    lines = np.random.default_rng(5).normal(size=(x.shape[1], num_lines))
    lines /= np.linalg.norm(lines, axis=0)
    return float(np.abs(np.sort(x @ lines, axis=0) - np.sort(y @ lines, axis=0)).mean())


def in_exact_shares(model, weights, num, seed):
    """Exact draws with each mode's share of the draws at its weight: a reference of less noise."""
    draws = np.asarray(model.sample(jax.random.key(seed), 2 * num))
    logs = jax.vmap(model.component_log_probs, (0, None))(jnp.asarray(draws), 0.0)
    modes = np.asarray(logs).argmax(axis=1)
    parts = [draws[modes == k][: round(w * num)] for k, w in enumerate(weights)]
    return np.concatenate(parts)


def quality(dim, num=50_000, repeats=4):
    """Rows of method, evaluations and distances; the floor first."""
    noise = VE(sigma_min=0.02, sigma_max=40.0)
    model = mixture(dim, noise)
    early = partial(edm_times, end=float(noise.time_of(0.2)))
    flow = partial(probability_flow, model, noise, (dim,))
    sde = partial(reverse_sde, model, noise, (dim,))
    makers = {
        "DPM-Solver++ 2M, flow": lambda: flow(num_steps=20, method=dpm_solver),
        "the same, denoised at .2": lambda: flow(
            num_steps=19, method=dpm_solver, grid=early, denoise=True
        ),
        "Heun, flow": lambda: flow(num_steps=10, method=heun),
        "Heun, flow, 40": lambda: flow(num_steps=20, method=heun),
        "DPM-Solver++ 2M, SDE": lambda: sde(num_steps=20, method=dpm_solver_sde),
        "ancestral": lambda: sde(num_steps=20, method=ancestral),
        "Euler-Maruyama": lambda: sde(num_steps=20, method=euler_maruyama),
        "Euler-Maruyama, 500": lambda: sde(num_steps=500, method=euler_maruyama),
    }
    weights = np.exp(np.asarray(model.log_weights.array))
    exact = [in_exact_shares(model, weights, num, 50 + i) for i in range(repeats)]
    others = [np.asarray(model.sample(jax.random.key(90 + i), num)) for i in range(repeats)]
    pairs = zip(others, exact, strict=True)
    rows = {"exact draws": (0, [sliced(x[: len(y)], y) for x, y in pairs])}
    for name, make in makers.items():
        sampler = make()
        found = []
        for i in range(repeats):
            draws = sampler.sample(jax.random.key(i), num)
            found.append(sliced(draws[: len(exact[i])], exact[i]))
        rows[name] = (sampler.evaluations, found)
    return rows


def print_quality():
    print("\n3. sliced Wasserstein distance to 50,000 exact draws, mean of 4 and its error")
    for dim in (2, 10):
        print(f"  {dim} dimensions")
        for name, (evaluations, found) in quality(dim).items():
            error = np.std(found, ddof=1) / np.sqrt(len(found))
            print(f"{name:>28} {evaluations:5} {np.mean(found):9.4f} +- {error:.4f}", flush=True)


# -- 4. speed --------------------------------------------------------------------------------------


def jobs(num=10_000, num_steps=50):
    """Name -> function that draws, each compiled by its first call."""
    noise = VP()
    model = ScoreNetwork(ResidualMLP(2, width=128, depth=3, rng_key=jax.random.key(0)), noise)
    times = uniform_times(noise, num_steps)
    sampler = reverse_sde(
        model, noise, (2,), num_steps=num_steps, method=euler_maruyama, grid=uniform_times
    )
    keys = jax.random.split(jax.random.key(1), num)
    start = noise.sigma(1.0)

    @eqx.filter_jit
    def by_scan(model, key):
        f, g2 = noise.drift_coefficient(times[:-1]), noise.squared_diffusion(times[:-1])
        rows = (times[:-1], f, g2, times[:-1] - times[1:], jax.random.split(key, num_steps))

        def step(x, row):
            t, f, g2, length, key = row
            scores = jax.vmap(model, (0, None))(x, t)
            z = jax.random.normal(key, x.shape)
            return x - (f * x - g2 * scores) * length + jnp.sqrt(g2 * length) * z, None

        return jax.lax.scan(step, start * jax.random.normal(key, (num, 2)), rows)[0]

    @eqx.filter_jit
    def by_diffrax(model, keys):
        def one(key):
            key_start, key_path = jax.random.split(key)

            # forwards in 1 - t
            def drift(s, x, args):
                return -noise.reverse_drift(x, 1 - s, model(x, 1 - s))

            def diffusion(s, x, args):
                return noise.diffusion(1 - s)

            path = diffrax.UnsafeBrownianPath(
                shape=jax.ShapeDtypeStruct((2,), jnp.float32), key=key_path
            )
            terms = diffrax.MultiTerm(
                diffrax.ODETerm(drift),
                diffrax.ControlTerm(lambda s, x, args: diffusion(s, x, args) * jnp.eye(2), path),
            )
            solution = diffrax.diffeqsolve(
                terms,
                diffrax.Euler(),
                0.0,
                1 - times[-1],
                None,
                start * jax.random.normal(key_start, (2,)),
                stepsize_controller=diffrax.StepTo(1 - times),
                adjoint=diffrax.DirectAdjoint(),
                max_steps=num_steps,
            )
            return solution.ys[0]

        return jax.vmap(one)(keys)

    @eqx.filter_jit
    def arithmetic(model, x):
        def step(x, t):
            return jax.vmap(model, (0, None))(x, t), None

        return jax.lax.scan(step, x, times[:-1])[0]

    points = jax.random.normal(jax.random.key(2), (num, 2))
    return {
        "reverse_sde": lambda i: sampler.sample(jax.random.key(i), num),
        "scan by hand": lambda i: np.asarray(by_scan(model, jax.random.key(i))),
        "Diffrax, Euler": lambda i: np.asarray(by_diffrax(model, keys)),
        "network alone": lambda i: np.asarray(arithmetic(model, points)),
    }


def print_speed(repeats=9):
    all_of_them = jobs()
    times = {name: [] for name in all_of_them}
    for job in all_of_them.values():
        job(0)
    for i in range(repeats):
        for name, job in all_of_them.items():
            began = time.perf_counter()
            job(i)
            times[name].append(time.perf_counter() - began)
    print(f"\n4. 10,000 draws in the plane, 50 steps, MLP 128 x 3; median of {repeats}, in turn")
    for name, of_job in times.items():
        ratios = [a / b for a, b in zip(of_job, times["reverse_sde"], strict=True)]
        print(f"{name:>16} {statistics.median(of_job):7.3f} s  {statistics.median(ratios):6.2f}")
    print("  (ratios: time over that of reverse_sde)")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    tables = ("error", "toy", "quality", "speed")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(tables)}")
    parser.add_argument("--picture", help="where to draw the first table")
    args = parser.parse_args()
    if unknown := set(args.tables) - set(tables):
        parser.error(f"there is no table {', '.join(unknown)}")
    chosen = args.tables or tables
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    if "error" in chosen:
        print_error(args.picture)
    if "toy" in chosen:
        print_toy()
    if "quality" in chosen:
        print_quality()
    if "speed" in chosen:
        print_speed()


if __name__ == "__main__":
    main()
