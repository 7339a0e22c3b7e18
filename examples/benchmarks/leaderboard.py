"""Samplers on posteriors at equal cost: how often each passes a fixed gate, and what that costs.

    python examples/benchmarks/leaderboard.py --out leaderboard.jsonl
    python examples/benchmarks/leaderboard.py --out leaderboard.jsonl --posteriordb FOLDER \
        --target nes --sampler mams --seed 0
    python examples/benchmarks/leaderboard.py --out leaderboard.jsonl --show
    python examples/benchmarks/leaderboard.py --out leaderboard.jsonl \
        --page docs/leaderboard.md docs/leaderboard.png

Each target, sampler and seed is a row of its own, written as a line of JSON when it is made; rows
that are in the file are not made again, so that the command can be cut into pieces and resumed. The
gate (`leaderboard_gate.py`) was fixed before anything ran. Every run has the same number of chains
and the same budget of evaluations, in which exploring, training and warmup are counted and a
gradient counts as two. `--show` prints, per target and sampler, the seeds that passed and the
median cost at which they did: never an average over runs that failed, which stay in the table.
"""

import argparse
import json
import math
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from leaderboard_gate import passed
from leaderboard_page import standing, table, write
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score import targets
from numpyro_score.comparison.external.protocol import ExternalSampler
from numpyro_score.comparison.external.run import run_external
from numpyro_score.comparison.result import Settings

BUILT_IN = (
    "std_gaussian",
    "ill_gaussian",
    "ill_gaussian_rotated",
    "gumbel",
    "banana",
    "rosenbrock",
    "funnel",
    "eight_schools",
    "eight_schools_centered",
    "breast_cancer",
    "random_walk_with_gap",
    "stochastic_volatility",
    "item_response",
    "cox_process",
    "two_modes",
    "mixture_1d",
    "ring_of_modes",
    "forty_modes",
    "random_modes",
    "narrow_modes",
    "double_wells",
)


def _external(name: str) -> Callable[[], ExternalSampler]:
    def find() -> ExternalSampler:
        from numpyro_score.comparison import external

        return getattr(external, name)

    return find


# Steps of warmup of each sampler, as its makers recommend or use by default; ours: the default of
# sample(model), and of the examples. "default" is what a user types: sample(model, key), which
# chooses the kernel and ends by itself.
SAMPLERS: dict[str, tuple[int, Callable[[], Any]]] = {
    "default": (300, lambda: lambda model: model),
    "mala": (300, lambda: lambda model: ns.MALA(model, dense_mass=True)),
    "mams": (300, lambda: lambda model: ns.MAMS(model, dense_mass=True)),
    "global_local": (200, lambda: ns.GlobalLocal),
    "parallel_tempering": (300, lambda: ns.ParallelTempering),
    "tempered_smc": (0, lambda: ns.TemperedSMC),
    "nuts": (500, lambda: NUTS),
    "nuts_dense": (500, lambda: lambda model: NUTS(model, dense_mass=True)),
    "blackjax_nuts": (500, _external("blackjax_nuts")),
    "blackjax_mclmc": (500, _external("blackjax_mclmc")),
    "blackjax_adjusted_mclmc": (500, _external("blackjax_adjusted_mclmc")),
    "blackjax_meads": (500, _external("blackjax_meads")),
    "blackjax_chees": (500, _external("blackjax_chees")),
    "blackjax_laps": (500, _external("blackjax_laps")),
    "blackjax_smc": (0, _external("blackjax_smc")),
    "blackjax_nested": (0, _external("blackjax_nested")),
}


def make_row(
    target: targets.Target, sampler: str, seed: int, num_chains: int, budget: float
) -> dict[str, Any]:
    """Run one sampler on one target, and judge it."""
    num_warmup, find = SAMPLERS[sampler]
    key = jax.random.key(seed)
    limit = ns.Evaluations(budget)
    factory = find()
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        try:
            if isinstance(factory, ExternalSampler):
                settings = Settings(num_warmup, None, num_chains, budget=limit)
                dt = run_external(factory, sampler, target, key, settings, None)
            else:
                dt = ns.sample(
                    factory(target.model),
                    key,
                    num_warmup=num_warmup,
                    num_chains=num_chains,
                    until=None if sampler == "default" else limit,
                    model_args=target.model_args,
                    model_kwargs=target.model_kwargs,
                    progress=False,
                )
            told = [str(w.message) for w in given if issubclass(w.category, ns.ConvergenceWarning)]
            # the others end by the budget, with the draw that reaches it
            most = budget if sampler == "default" else math.inf
            found = passed(dt, target, most) | {
                "exact": dt.attrs.get("exact"),
                "failure": "",
                "warned": told,
                "kernel": dt.attrs.get("kernel_choice", ""),
            }
        except Exception as error:
            traceback.print_exc()
            found = {"passed": False, "failure": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {
        "target": target.name,
        "sampler": sampler,
        "seed": seed,
        "chains": num_chains,
        "budget": budget,
        "warmup": num_warmup,
        **found,
        "wall_seconds": time.perf_counter() - began,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    """Make the rows that are asked for, or show those that there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of rows, added to")
    parser.add_argument("--posteriordb", metavar="FOLDER", help="reference.json and data/*.json")
    parser.add_argument("--target", action="append", help="all by default")
    parser.add_argument("--sampler", action="append", choices=SAMPLERS, help="all by default")
    parser.add_argument("--seed", action="append", type=int, help="0, 1 and 2 by default")
    parser.add_argument("--chains", type=int, default=32)
    parser.add_argument("--budget", type=float, default=2_000_000, help="evaluations of a run")
    parser.add_argument("--show", action="store_true", help="print the table and make no rows")
    parser.add_argument(
        "--page",
        nargs=2,
        type=Path,
        metavar=("PAGE", "PICTURE"),
        help="put table and picture into a Markdown page and make no rows",
    )
    given = parser.parse_args()
    rows = read(given.out)
    if given.show:
        print("\n".join([*standing(rows), *table(rows, tuple(SAMPLERS))]))
        return
    if given.page:
        write(rows, tuple(SAMPLERS), *given.page)
        return
    known: dict[str, Callable[[], targets.Target]] = {n: getattr(targets, n) for n in BUILT_IN}
    if given.posteriordb:
        from leaderboard_posteriors import of_folder

        found = of_folder(given.posteriordb)
        known |= {name: lambda name=name: found[name] for name in found}  # type: ignore[misc]
    wanted = given.target or list(known)
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"unknown targets {', '.join(unknown)}; known: {', '.join(known)}")
    key = ("target", "sampler", "seed", "chains", "budget")
    done = {tuple(row[name] for name in key) for row in rows}
    for name in wanted:
        target = known[name]()
        for seed in given.seed or (0, 1, 2):
            for sampler in given.sampler or SAMPLERS:
                if (target.name, sampler, seed, given.chains, given.budget) in done:
                    continue
                row = make_row(target, sampler, seed, given.chains, given.budget)
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                verdict = "passed" if row["passed"] else f"failed {row['failure']}"
                print(f"{name} {sampler} {seed}: {verdict}", flush=True)


if __name__ == "__main__":
    main()
