"""How often simulation-based calibration finds faults that were planted, and what it costs.

A seed is a calibration with 1,000 refits of a Gaussian mean. Rows: the fault, and in how many seeds
something is declared not calibrated at a false-alarm rate of .05. Then the seconds of 200 refits of
eight schools, compilation included.

    python examples/benchmarks/calibration.py [--seeds 20] [--refits 1000]
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score.calibration.uniformity import p_value
from numpyro_score.targets import eight_schools

ALL = jnp.ones(4, bool)
# the posterior's variance is 1/5: nothing has to be learned in warmup
KNOWN = {"inverse_mass_matrix": jnp.full(1, 0.2), "adapt_mass_matrix": False}
FAST = partial(ns.MALA, step_size=1.0, adapt_step_size=False, **KNOWN)


def model(y, prior_sd=1.0, mask=ALL):
    mean = numpyro.sample("mean", dist.Normal(0.0, prior_sd))
    numpyro.sample("y", dist.Normal(mean, 1.0).mask(mask), obs=y)


def forgetful(bound):
    """A likelihood that forgets one of its four factors."""
    return FAST(lambda y, mask: bound(y, mask=mask.at[0].set(False)))


ONE = {"model_kwargs": {"mask": ALL.at[1:].set(False)}}
ROWS = {
    "none": {},
    # one observation: where data dominate, the prior has no effect
    "prior sd 20% too small": {**ONE, "simulator": partial(model, prior_sd=1.2)},
    "prior sd 20% too large": {**ONE, "simulator": partial(model, prior_sd=1 / 1.2)},
    "likelihood forgets a factor": {"model_kwargs": {"mask": ALL}, "kernel": forgetful},
    # the variance of an unadjusted chain is 1 / (1 - step / 2) of the posterior's
    "chain's variance 25% too large": {"kernel": partial(ns.ULA, step_size=0.4, **KNOWN)},
}


def num_found(settings, num_seeds, num_refits):
    """Seeds in which something is declared not calibrated; each is a group of refits of one run."""
    chosen = {"kernel": FAST, **settings}
    found = ns.sbc(
        model,
        chosen.pop("kernel"),
        jax.random.key(0),
        model_args=(jnp.zeros(4),),
        num_simulations=num_seeds * num_refits,
        batch_size=2000,
        num_warmup=20,
        num_samples=150,
        progress=False,
        **chosen,
    )
    groups = found.pit.values.reshape(num_seeds, num_refits, -1)
    alpha = 0.05 / groups.shape[2]
    return sum(min(p_value(column) for column in group.T) < alpha for group in groups)


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--refits", type=int, default=1000)
    options = parser.parse_args(arguments)
    print(f"| fault | found in {options.seeds} seeds of {options.refits} refits | seconds |")
    print("|---|---|---|")
    for fault, settings in ROWS.items():
        began = time.perf_counter()
        found = num_found(settings, options.seeds, options.refits)
        print(f"| {fault} | {found} | {time.perf_counter() - began:.0f} |", flush=True)
    target = eight_schools()
    print("\n| 200 refits of eight schools | verdict | seconds |\n|---|---|---|")
    for name, kernel, lengths in (
        ("NUTS, 1 chain", NUTS, {"num_chains": 1, "num_samples": 400}),
        ("MALA, 16 chains", ns.MALA, {"num_chains": 16, "num_samples": 400}),
    ):
        began = time.perf_counter()
        found = ns.sbc(
            target.model,
            kernel,
            jax.random.key(1),
            model_args=target.model_args,
            model_kwargs=target.model_kwargs,
            progress=False,
            **lengths,
        )
        seconds = time.perf_counter() - began
        verdict = found.verdict.split(" (")[0]
        print(f"| {name} | {verdict} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
