"""Gradients until second moments are right, tuning counted: ours beside BlackJAX's ensembles.

    python examples/benchmarks/second_moments.py --out second_moments.jsonl
    python examples/benchmarks/second_moments.py --out second_moments.jsonl --show

For each target, sampler and seed: the gradients of all chains, those of tuning included, from which
on the squared error of the estimate of E[x^2] from the draws of all chains is below .01 of the
variance of x^2 in the worst coordinate, for as long as the run goes. It is the measure by which the
microcanonical samplers are published (Robnik et al., arXiv:2503.01707). Every sampler has the same
number of chains and at most as many steps of warmup; LAPS ends its first phase by itself. A row
without a number did not get there within the budget. `--show` prints the medians over seeds, and
the ratio of the better of ours to the best of the others. Rows that are in the file are not made
again.
"""

import argparse
import json
import math
import time
import warnings
from functools import partial
from pathlib import Path

import jax
import numpy as np

import numpyro_score as ns
from numpyro_score import targets
from numpyro_score.comparison import external
from numpyro_score.comparison.external.protocol import ExternalSampler
from numpyro_score.comparison.external.run import run_external
from numpyro_score.comparison.result import Settings
from numpyro_score.diagnostics.cost import costs

MAX_ERROR = 0.01
"""Squared error, in variances of x^2."""

TARGETS = {
    "eight_schools": targets.eight_schools,
    "gaussian_100": partial(targets.ill_gaussian, 100),
    "breast_cancer": targets.breast_cancer,
    "random_walk_with_gap": targets.random_walk_with_gap,
    "stochastic_volatility": targets.stochastic_volatility,
}
MAX_DENSE = 100
OURS = ("mala", "mams")


def _ours(kernel):
    return lambda target: kernel(target.model, dense_mass=target.dim <= MAX_DENSE)


SAMPLERS = {
    "mala": _ours(ns.MALA),
    "mams": _ours(ns.MAMS),
    "blackjax_adjusted_mclmc": lambda target: external.blackjax_adjusted_mclmc,
    "blackjax_meads": lambda target: external.blackjax_meads,
    "blackjax_chees": lambda target: external.blackjax_chees,
    "blackjax_laps": lambda target: external.blackjax_laps,
}


def squared_errors(dt, target):
    """After every draw of all chains, the error of the worst second moment, in its variances."""
    draws = {name: np.asarray(v.values, np.float64) for name, v in dt.posterior.data_vars.items()}
    worst = 0.0
    for known in target.expectations:
        if known.name != "second_moment":
            continue
        values = np.asarray(known.fn(draws))
        values = values.reshape(*values.shape[:2], -1)
        means = np.cumsum(values.mean(axis=0), axis=0) / np.arange(1, values.shape[1] + 1)[:, None]
        off = (means - np.ravel(known.truth)) / np.ravel(known.sd)
        worst = np.maximum(worst, np.max(off**2, axis=1))
    return worst


def make_row(name, sampler, seed, chains, num_warmup, budget):
    """Run one sampler on one target."""
    target = TARGETS[name]()
    key, limit = jax.random.key(seed), ns.Evaluations(2 * budget)
    kernel = SAMPLERS[sampler](target)
    began = time.perf_counter()
    try:
        if isinstance(kernel, ExternalSampler):
            settings = Settings(num_warmup, None, chains, budget=limit)
            dt = run_external(kernel, sampler, target, key, settings, None)
        else:
            dt = ns.sample(
                kernel,
                key,
                num_warmup=num_warmup,
                num_chains=chains,
                until=limit,
                model_args=target.model_args,
                model_kwargs=target.model_kwargs,
                progress=False,
            )
    except Exception as error:
        found = {"gradients": None, "failure": f"{type(error).__name__}: {error}".splitlines()[0]}
    else:
        spent = costs(dt)
        of_draws = np.cumsum(dt.sample_stats["num_grad"].sum("chain").values)
        errors = squared_errors(dt, target)
        above = np.flatnonzero(~(errors <= MAX_ERROR))
        first = int(above[-1]) + 1 if len(above) else 0
        tuning = spent.gradients - spent.num_grad
        is_met = first < len(errors)
        found = {
            "gradients": float(tuning + of_draws[first]) if is_met else None,
            "tuning": float(tuning),
            "failure": "" if is_met else f"squared error {errors[-1]:.3g} at the end",
        }
    seconds = time.perf_counter() - began
    return {"target": name, "sampler": sampler, "seed": seed, "chains": chains, **found} | {
        "wall_seconds": seconds
    }


def _median(rows, target, sampler):
    mine = [r["gradients"] for r in rows if (r["target"], r["sampler"]) == (target, sampler)]
    # infinite where it was not met
    return float(np.median([math.inf if g is None else g for g in mine])) if mine else math.nan


def show(rows):
    """Print the table."""
    print(
        "| target | " + " | ".join(SAMPLERS) + " | ratio |\n" + "|---" * (len(SAMPLERS) + 2) + "|"
    )
    ratios = []
    for target in dict.fromkeys(row["target"] for row in rows):
        found = {name: _median(rows, target, name) for name in SAMPLERS}
        others = [value for name, value in found.items() if name not in OURS]
        ratio = np.nanmin([found[name] for name in OURS]) / np.nanmin(others)
        # where none of the others gets there, there is no ratio
        ratios += [ratio] if 0 < ratio < math.inf else []
        cells = [
            "" if math.isnan(v) else "not met" if math.isinf(v) else f"{v / 1e3:.0f}"
            for v in found.values()
        ]
        print(f"| {target} | " + " | ".join(cells) + f" | {ratio:.2f} |")
    print(f"geometric mean of the ratios: {np.exp(np.mean(np.log(ratios))):.2f}")


def main():
    """Make the rows that are asked for, or show those that there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of rows, added to")
    parser.add_argument("--target", action="append", choices=TARGETS, help="all by default")
    parser.add_argument("--sampler", action="append", choices=SAMPLERS, help="all by default")
    parser.add_argument("--seed", action="append", type=int, help="0 by default")
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--budget", type=float, default=400_000, help="gradients of a run")
    parser.add_argument("--show", action="store_true", help="print the table and make no rows")
    given = parser.parse_args()
    text = given.out.read_text() if given.out.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    if given.show:
        show(rows)
        return
    warnings.simplefilter("ignore", ns.ConvergenceWarning)
    done = {(row["target"], row["sampler"], row["seed"], row["chains"]) for row in rows}
    for name in given.target or TARGETS:
        for seed in given.seed or (0,):
            for sampler in given.sampler or SAMPLERS:
                if (name, sampler, seed, given.chains) in done:
                    continue
                row = make_row(name, sampler, seed, given.chains, given.warmup, given.budget)
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(name, sampler, seed, row["gradients"], row["failure"], flush=True)


if __name__ == "__main__":
    main()
