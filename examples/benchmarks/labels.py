"""Jumps between the labellings of a mixture: are all found, with equal weight?

    python examples/benchmarks/labels.py [--components K ...] [--seeds N] [--proposal NAME]

The posterior of a mixture of `K` Gaussians with diagonal covariances has `K!` modes of equal weight
(Stephens 2000, doi:10.1111/1467-9868.00265): 6 for `K = 3`, two features of the iris data (14
dimensions), and 24 for `K = 4`, 200 simulated points of four Gaussians (19 dimensions).
`GlobalLocal` runs with its defaults, 64 chains of 1,000 draws. A line says
how many jumps were accepted; the number of labellings that chains visited, and their smallest and
largest share; the largest distance of a share from `1 / K!` in standard errors; R-hat of all
parameters; gradients, learning included; seconds of CPU.
"""

import argparse
import math
import time
import warnings
from itertools import permutations

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from sklearn.datasets import load_iris

import numpyro_score as ns
from numpyro_score.diagnostics import assess, costs
from numpyro_score.samplers.proposals import flow_proposal, path_proposal

NUM_CHAINS, NUM_SAMPLES, NUM_WARMUP = 64, 1000, 200
PROPOSALS = {"default": None, "flow": flow_proposal, "path": path_proposal}


def model(x, num):
    """`num` Gaussians in two dimensions, without a fixed order."""
    weights = numpyro.sample("weights", dist.Dirichlet(2 * jnp.ones(num)))
    with numpyro.plate("component", num):
        loc = numpyro.sample("loc", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        scale = numpyro.sample("scale", dist.LogNormal(-1.0, 0.7).expand([2]).to_event(1))
    parts = dist.Normal(loc, scale).to_event(1)
    numpyro.sample("x", dist.MixtureSameFamily(dist.Categorical(weights), parts), obs=x)


def points(num):
    """Data with as many clusters, standardised."""
    if num == 3:
        x = load_iris().data[:, 2:]
    else:
        rng = np.random.default_rng(0)
        angle = 2 * np.pi * np.arange(num) / num
        means = 3 * np.stack([np.cos(angle + 0.4), np.sin(angle + 0.4)], axis=1)
        x = (means[:, None] + rng.normal(size=(num, 200 // num, 2))).reshape(-1, 2)
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)


def labelling(posterior, num):
    """For each draw the order of the components around the centre, as a number below `num!`."""
    loc = posterior["loc"].to_numpy()
    place = loc[..., 0] if num == 3 else np.arctan2(loc[..., 1], loc[..., 0])
    order = np.argsort(place, axis=-1)
    code = order @ num ** np.arange(num)
    known = np.sort(np.array(list(permutations(range(num)))) @ num ** np.arange(num))
    return np.searchsorted(known, code)


def row(num, seed, proposal):
    """One run."""
    began = time.process_time()
    kernel = ns.GlobalLocal(model, proposal=PROPOSALS[proposal], progress=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dt = ns.sample(
            kernel,
            jax.random.key(seed),
            num_warmup=NUM_WARMUP,
            num_samples=NUM_SAMPLES,
            num_chains=NUM_CHAINS,
            model_args=(points(num), num),
            progress=False,
        )
    which, modes = labelling(dt.posterior, num), math.factorial(num)
    is_in = which[..., None] == np.arange(modes)
    share = is_in.mean(axis=(0, 1))
    # a labelling that no chain visits has no effective sample size, and is far off
    ess = [float(az.ess(is_in[..., k].astype(float))) if share[k] else 1e9 for k in range(modes)]
    off = (share - 1 / modes) / np.sqrt((1 - 1 / modes) / modes / np.array(ess))
    stats = dt.sample_stats
    jumped = stats["is_global"].to_numpy()
    return {
        "accepted": float(stats["global_accept_prob"].to_numpy()[jumped].mean()),
        "visited": int((share > 0).sum()),
        "shares": (float(share.min()), float(share.max())),
        "z": float(np.abs(off).max()),
        "rhat": assess(dt, with_discrepancy=False).verdict.rhat_max,
        "gradients": int(costs(dt).gradients),
        "cpu": time.process_time() - began,
        "warnings": [str(one.message).splitlines()[0] for one in told],
    }


def main():
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--proposal", choices=PROPOSALS, default="default")
    args = parser.parse_args()
    for num in args.components:
        for seed in range(args.seeds):
            made = row(num, seed, args.proposal)
            low, high = made["shares"]
            print(
                f"{num} components, {args.proposal}, seed {seed}: accepted {made['accepted']:.2f}, "
                f"{made['visited']} of {math.factorial(num)} labellings, shares {low:.4f} to "
                f"{high:.4f}, largest z {made['z']:.1f}, R-hat {made['rhat']:.3f}, "
                f"{made['gradients']:,} gradients, {made['cpu']:.0f} s of CPU",
                *made["warnings"],
                sep="\n  ",
                flush=True,
            )


if __name__ == "__main__":
    main()
