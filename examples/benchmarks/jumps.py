"""Learned jumps on targets that they were not built on: acceptance, weights of modes, log Z.

    python examples/benchmarks/jumps.py [--seeds N] [--first SEED] [--draw] [--proposal NAME] [CASE]

Every case is fitted with `GlobalLocal`'s defaults from a rough guess of where the modes are, once
for every seed. A line says what was learned, how far log Z is from the truth in units of its own
error, and which warnings were given. With `--draw` 100 chains draw 500 times each, and the total
variation of the mode weights is printed too. `--proposal flow` or `path` trains a network in place
of the default, a mixture of Gaussians or a product where that suffices.

Sound cases should be right and give no warning. Crippled cases (a start that covers one mode of
two, few particles, a network of width 2, a funnel) should warn, or be right all the same. The
last lines count both.
"""

import argparse
import json
import time
import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import numpyro_score as ns
from numpyro_score import targets
from numpyro_score.samplers.proposals import flow_proposal, path_proposal
from numpyro_score.scores import ResidualMLP

NUM_CHAINS, NUM_SAMPLES, NUM_WARMUP = 100, 500, 100
PROPOSALS = {"default": None, "flow": flow_proposal, "path": path_proposal}


def width_two(dim, rng_key):
    return ResidualMLP(dim, width=2, depth=1, rng_key=rng_key)


class Case(NamedTuple):
    """A target, where its exploration starts, and what differs from the defaults."""

    target: targets.Target
    mean: float
    sd: float
    settings: dict
    is_sound: bool = True


def case(name):
    """The case of this name."""
    narrow = {"network": width_two, "proposal": flow_proposal}
    pair = partial(targets.narrow_modes)
    cases = {
        "mog2": lambda: Case(targets.two_modes(), 0.0, 10.0, {}),
        "ring8": lambda: Case(targets.ring_of_modes(), 0.0, 10.0, {}),
        "mog10d": lambda: Case(targets.random_modes(10), 0.0, 10.0, {}),
        "forty": lambda: Case(targets.forty_modes(), 0.0, 25.0, {}),
        "pair8": lambda: Case(pair(8), 0.0, 2.0, {}),
        "pair32": lambda: Case(pair(32), 0.0, 2.0, {}),
        "pair128": lambda: Case(pair(128), 0.0, 2.0, {}),
        "wells16": lambda: Case(targets.double_wells(16), 0.0, 3.0, {}),
        "wells32": lambda: Case(targets.double_wells(32), 0.0, 3.0, {}),
        "four50": lambda: Case(targets.random_modes(50), 0.0, 10.0, {}),
        "one_mode": lambda: Case(targets.two_modes(), 5.0, 1.0, {}, False),
        "one_mode8": lambda: Case(pair(8), -0.5, 0.3, {}, False),
        "few": lambda: Case(pair(8), 0.0, 2.0, {"num_particles": 256}, False),
        "few10d": lambda: Case(targets.random_modes(10), 0.0, 10.0, {"num_particles": 256}, False),
        "narrow_net": lambda: Case(pair(8), 0.0, 2.0, narrow, False),
        "narrow_net10d": lambda: Case(targets.random_modes(10), 0.0, 10.0, narrow, False),
        # from its prior, and from a rough guess
        "funnel": lambda: Case(targets.funnel(10), 0.0, 0.0, {}, False),
        "funnel_guess": lambda: Case(targets.funnel(10), 0.0, 5.0, {}, False),
    }
    return cases[name]()


def log_z(target):
    """Log of the integral of the density."""
    return getattr(target, "log_evidence", 0.0)


def weights(target, draws):
    """Largest total variation of the weights of modes: of all, or of the two of each pair."""
    for known in target.expectations:
        if known.name in ("mode_weight", "right_well"):
            found = np.asarray(known.fn({"x": draws})).mean(axis=0)
            away = np.abs(found - known.truth)
            return float(away.max() if known.name == "right_well" else 0.5 * away.sum())
    return float("nan")


def one(name, made, seed, proposal, *, draw):
    """A fit, and what it says of itself."""
    target = made.target
    given = {"progress": False, "proposal": PROPOSALS[proposal], **made.settings}
    if made.sd:
        flat = dist.Normal(jnp.full(target.dim, made.mean), made.sd).to_event(1)
        kernel = ns.GlobalLocal(logdensity_fn=target.logdensity_fn, reference=flat, **given)
    else:
        kernel = ns.GlobalLocal(target.model, **given)
    args = () if made.sd else target.model_args
    key_fit, key_run = jax.random.split(jax.random.key(seed))
    begin, begin_cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = {"init_params": jnp.zeros(target.dim)} if made.sd else {}
        fitted = kernel.fit(key_fit, *args, **start)
        row = {"case": name, "seed": seed, "cpu": time.process_time() - begin_cpu}
        if draw:
            tree = ns.sample(
                kernel,
                key_run,
                num_warmup=NUM_WARMUP,
                num_samples=NUM_SAMPLES,
                num_chains=NUM_CHAINS,
                model_args=args,
                progress=False,
            )
            stats = {key: values.to_numpy() for key, values in tree.sample_stats.items()}
            jumped = stats["is_global"]
            row["accepted"] = float(stats["global_accept_prob"][jumped].mean())
            row["lost"] = float(stats["is_lost"][jumped].mean())
            row["longest"] = int(stats["longest_rejection"].max())
            if made.sd and isinstance(target, targets.DensityTarget):
                x = next(iter(tree.posterior.data_vars.values())).to_numpy()
                row["tv"] = weights(target, x.reshape(-1, target.dim))
    evidence, found = fitted.evidence, fitted.quality
    truth = log_z(target)
    row |= {
        "kind": fitted.kind,
        "rounds": [round(value, 3) for value in fitted.rounds],
        "stopped": fitted.stopped,
        "network_error": fitted.error,
        "pareto_k": found.pareto_k,
        "ess": found.ess_fraction,
        "log_z": evidence.value - truth,
        "error": evidence.error,
        "z": (evidence.value - truth) / evidence.error,
        "by_proposal": (evidence.by_proposal[0] - truth, evidence.by_proposal[1]),
        "by_annealing": evidence.by_annealing
        and (evidence.by_annealing[0] - truth, evidence.by_annealing[1]),
        "starts": fitted.regions.starts.astype(int).tolist(),
        "weights": fitted.regions.weights.round(4).tolist(),
        "num_grad": fitted.num_grad,
        "seconds": time.perf_counter() - begin,
        "warnings": [str(warning.message)[:160] for warning in caught],
    }
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=["mog2", "pair8", "few", "funnel"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--draw", action="store_true", help="run chains too")
    parser.add_argument("--proposal", choices=PROPOSALS, default="default")
    args = parser.parse_args()
    for name in args.cases:
        made, rows = case(name), []
        for seed in range(args.first, args.first + args.seeds):
            rows.append(one(name, made, seed, args.proposal, draw=args.draw))
            print(json.dumps(rows[-1]), flush=True)
        warned = sum(bool(row["warnings"]) for row in rows)
        right = sum(abs(row["z"]) <= 2 for row in rows)
        kept = [row.get("accepted", max(row["rounds"])) for row in rows]
        text = (
            f"{name} ({'sound' if made.is_sound else 'crippled'}), {len(rows)} seeds: acceptance "
            f"{np.median(kept):.3f}, log Z within 2 errors {right}, warned {warned}"
        )
        if all("tv" in row for row in rows):
            text += f", total variation {np.median([row['tv'] for row in rows]):.4f}"
        print(text, flush=True)


if __name__ == "__main__":
    main()
