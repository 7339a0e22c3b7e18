"""Pooled warmup of MALA against a kernel that was tuned by an oracle.

    python examples/benchmarks/pooled_warmup.py
    python examples/benchmarks/pooled_warmup.py my_targets.py:earnings --chains 8 --float64

For each target: minimum bulk ESS per gradient after 300 steps of warmup from uniform(-2, 2), over
that of MALA with the target's own covariance (its diagonal for `ill_gaussian`), the best of six
fixed steps, and a start from reference draws. 1 means that the warmup cost nothing in quality.
A target of your own is a file and a function in it that returns a `numpyro_score.targets.Target`.

Reference draws are exact where the target has them, else a long NUTS run.
"""

import argparse
import importlib.util
from pathlib import Path

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score import targets
from numpyro_score.kernels.mala import optimal_step_size

BUILT_IN = ("ill_gaussian", "ill_gaussian_rotated", "breast_cancer")
DIAGONAL = ("ill_gaussian",)
STEP_FACTORS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5)
NUM_SAMPLES = 1000


def load(name):
    """The target of that name, or the one that `file.py:function` returns."""
    if ":" not in name:
        return getattr(targets, name)()
    path, function = name.rsplit(":", 1)
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)()


def reference_draws(target):
    """Draws `(draw, dim)` in flat unconstrained coordinates."""
    if target.has_exact_draws:
        return np.asarray(target.sample(jax.random.key(1), 10_000)["x"])
    nuts = NUTS(potential_fn=lambda x: -target.logdensity_fn(x), dense_mass=True)
    start = jax.random.uniform(jax.random.key(2), (8, target.dim), minval=-0.5, maxval=0.5)
    dt = ns.sample(
        nuts,
        jax.random.key(3),
        num_warmup=1500,
        num_samples=2000,
        num_chains=8,
        init_params=start,
        progress=False,
    )
    return dt.posterior["Param:0"].values.reshape(-1, target.dim)


def efficiency(kernel, seed, start, num_warmup):
    """Minimum bulk ESS per draw, which is per gradient, and the run."""
    dt = ns.sample(
        kernel,
        jax.random.key(seed),
        num_warmup=num_warmup,
        num_samples=NUM_SAMPLES,
        num_chains=len(start),
        init_params=start,
        keep_warmup=False,
        progress=False,
    )
    ess = az.ess(dt.posterior.dataset)["Param:0"]
    return float(ess.min()) / (len(start) * NUM_SAMPLES), dt


def measure(target, *, is_dense, chains, num_warmup, seeds):
    """Ratio of each seed, and the oracle's efficiency."""
    draws = reference_draws(target)
    covariance = np.cov(draws.T)
    matrix = jnp.asarray(covariance if is_dense else np.diag(covariance))
    best = optimal_step_size(target.dim)

    def from_reference(seed):
        rows = np.random.default_rng(seed).choice(len(draws), chains, replace=False)
        return jnp.asarray(draws[rows])

    def oracle(factor):
        kernel = ns.MALA(
            logdensity_fn=target.logdensity_fn,
            step_size=factor * best,
            inverse_mass_matrix=matrix,
            adapt_step_size=False,
            adapt_mass_matrix=False,
        )
        return np.mean([efficiency(kernel, 100 + s, from_reference(s), 0)[0] for s in seeds])

    top = max(oracle(factor) for factor in STEP_FACTORS)
    kernel = ns.MALA(logdensity_fn=target.logdensity_fn, dense_mass=is_dense)
    ratios, restarts = [], 0
    for seed in seeds:
        start = jax.random.uniform(
            jax.random.key(seed), (chains, target.dim), minval=-2.0, maxval=2.0
        )
        value, dt = efficiency(kernel, 10 + seed, start, num_warmup)
        ratios.append(value / top)
        restarts += dt.attrs["num_restarts"]
    return ratios, top, restarts


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="*", default=list(BUILT_IN))
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--float64", action="store_true")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", arguments.float64)
    print(f"{arguments.chains} chains, {arguments.warmup} warmup steps")
    print(f"{'target':32} {'d':>3} {'P':>8} {'oracle':>7} {'mean':>5} {'worst':>5} {'restarts':>8}")
    for name in arguments.target:
        target = load(name)
        is_dense = name not in DIAGONAL
        ratios, top, restarts = measure(
            target,
            is_dense=is_dense,
            chains=arguments.chains,
            num_warmup=arguments.warmup,
            seeds=range(arguments.seeds),
        )
        kind = "dense" if is_dense else "diagonal"
        print(
            f"{target.name:32} {target.dim:3} {kind:>8} {top:7.4f} {np.mean(ratios):5.2f} "
            f"{min(ratios):5.2f} {restarts:8}",
            flush=True,
        )


if __name__ == "__main__":
    main()
