"""Exact draws for 100 data sets by an amortised posterior, beside NUTS: moments and seconds.

    python examples/benchmarks/amortised.py [--sets N] [--timed N] [MODEL ...]

Models: `eight_schools` and `logistic`, a hierarchical logistic regression of 8 groups of 10. Data
sets are drawn from the prior. Posterior means of `AmortisedPosterior.correct` are compared with
references: quadrature for eight schools, chains of NUTS in one vectorized program for the logistic
regression. The difference is in units of its Monte Carlo standard error, for all sites.

Seconds are for one data set and 400 effective draws of the site that has fewest: the time of a
run divided by its effective draws, times 400. NUTS (4 chains, 500 steps of warmup, 500 draws) runs
one data set after the other: by NumPyro's MCMC, compiled for each, as by default; with
`jit_model_args=True`; and by this package's `sample`, with it too. What a first call compiles is
not counted, except in the first of the three. Seconds of CPU change less with other work on the
machine. Medians over the first `--timed` data sets.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS

import numpyro_score as ns
from numpyro_score.calibration.refit import Chains
from numpyro_score.targets import eight_schools
from numpyro_score.targets.simulated import WithData, data_sites, simulate

ENOUGH = 400
NUM_GROUPS, NUM_ROWS = 8, 10
X = jnp.asarray(np.random.default_rng(0).normal(size=(NUM_GROUPS, NUM_ROWS)), jnp.float32)


def logistic(x, y=None):
    """Groups with their own intercepts, and a common slope."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    tau = numpyro.sample("tau", dist.HalfNormal(1.0))
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("group", x.shape[0]):
        base = numpyro.sample("base", dist.Normal(0.0, 1.0))
    logits = (mu + tau * base)[:, None] + slope * x
    numpyro.sample("y", dist.Bernoulli(logits=logits).to_event(2), obs=y)


def sufficient(data):
    """Successes of each group, and the slope's statistic."""
    y = data["y"]
    return {"successes": y.sum(axis=-1), "slope": (X * y).sum()}


def problem(name):
    """Model, arguments and summary."""
    if name == "logistic":
        return logistic, (X,), {"y": jnp.zeros(X.shape, jnp.int32)}, sufficient
    target = eight_schools()
    return target.model, target.model_args, target.model_kwargs, None


def clock(fn):
    """What a function returns, seconds, and seconds of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    found = fn()
    return found, np.array([time.perf_counter() - began, time.process_time() - cpu])


def effective(draws):
    """Effective draws of the site and coordinate with fewest."""
    return min(float(np.nanmin(effective_sample_size(np.asarray(x)))) for x in draws.values())


def quadrature(y, sigma):
    """Posterior means of `mu` and `tau` of eight schools, and their sds."""
    # tau by quantiles of its prior, so that its tail is covered
    share = (np.arange(4000) + 0.5) / 4000
    tau = 5 * np.tan(np.pi / 2 * share)[:, None]
    variance = tau**2 + np.asarray(sigma, float) ** 2
    precision = 1 / 25 + (1 / variance).sum(axis=1)
    mean = (y / variance).sum(axis=1) / precision
    log_p = -0.5 * (np.log(variance) + y**2 / variance).sum(axis=1)
    log_p += 0.5 * mean**2 * precision - 0.5 * np.log(precision)
    p = np.exp(log_p - log_p.max())
    p, tau = p / p.sum(), tau[:, 0]
    means = np.array([(p * mean).sum(), (p * tau).sum()])
    squares = np.array([(p * (mean**2 + 1 / precision)).sum(), (p * tau**2).sum()])
    return means, np.sqrt(squares - means**2)


def references(name, sets, args, kwargs):
    """Site -> posterior means, and their standard errors, `(data_set, *shape)`."""
    if name == "eight_schools":
        found = [quadrature(np.asarray(y, float), *args) for y in sets["y"]]
        means = np.stack([mean for mean, _ in found])
        return {site: (means[:, k], np.zeros(len(means))) for k, site in enumerate(("mu", "tau"))}
    refit = Chains(NUTS, args, kwargs, 500, 1000, 4)
    program = jax.jit(
        jax.vmap(lambda key, data: refit(key, WithData(logistic, tuple(data), data), data))
    )
    draws = jax.device_get(program(jax.random.split(jax.random.key(7), len(sets["y"])), sets))
    return {site: moments(np.moveaxis(x, 0, 2)) for site, x in draws.items()}


def moments(x):
    """Means and their standard errors, of `(chain, draw, ...)`."""
    ess = effective_sample_size(x)
    return x.mean(axis=(0, 1)), x.std(axis=(0, 1)) / np.sqrt(ess)


def seconds_of_nuts(model, sets, args, num):
    """Way -> seconds and seconds of CPU for enough effective draws, one row a data set."""
    settings = {"num_warmup": 500, "num_samples": 500, "num_chains": 4}

    def by_numpyro(mcmc, y):
        mcmc.run(jax.random.key(0), *args, y=y)
        return mcmc.get_samples(group_by_chain=True)

    def fresh(y):
        return by_numpyro(MCMC(NUTS(model), progress_bar=False, **settings), y)

    kept = MCMC(NUTS(model), progress_bar=False, jit_model_args=True, **settings)
    kernel = NUTS(model)

    def by_sample(y):
        tree = ns.sample(
            kernel,
            jax.random.key(0),
            model_args=args,
            model_kwargs={"y": y},
            jit_model_args=True,
            progress=False,
            **settings,
        )
        return {site: x.values for site, x in tree.posterior.items()}

    ways = {
        "NUTS, compiled for each": (fresh, max(num // 3, 1)),
        "NUTS, jit_model_args": (lambda y: by_numpyro(kept, y), num + 1),
        "NUTS, numpyro_score.sample": (by_sample, num + 1),
    }
    rows = {}
    for way, (fn, count) in ways.items():
        found = [clock(lambda y=y, fn=fn: fn(y)) for y in sets["y"][:count]]
        found = found if fn is fresh else found[1:]
        rows[way] = [took * ENOUGH / effective(draws) for draws, took in found]
    return rows


def main():
    """Print one block a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["eight_schools", "logistic"])
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--timed", type=int, default=10)
    parser.add_argument("--num-steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.models:
        measure(name, options)


def measure(name, options):
    """Train, correct, compare, and time NUTS."""
    model, args, kwargs, summary = problem(name)
    key_fit, key_data, key_run = jax.random.split(jax.random.key(options.seed), 3)
    posterior, took = clock(
        lambda: ns.fit_posterior(
            model,
            key_fit,
            model_args=args,
            model_kwargs=kwargs,
            summary=summary,
            num_simulations=20_000,
            num_steps=options.num_steps,
            num_flow_steps=8,
            width=64,
            progress=False,
        )
    )
    print(f"{name}: training {took[0]:.0f} s, {took[1]:.0f} s of CPU", flush=True)
    names = data_sites(model, args, kwargs)
    sets = jax.vmap(lambda key: simulate(model, names, key, args, kwargs).data)(
        jax.random.split(key_data, options.sets)
    )
    sets = {site: np.asarray(x) for site, x in sets.items()}

    def run(key):
        return posterior.correct(
            key, model, sets, model_args=args, model_kwargs=kwargs, progress=False
        )

    _, first = clock(lambda: run(jax.random.key(99)))
    tree, again = clock(lambda: run(key_run))
    rates = tree.sample_stats["jump_acceptance_rate"].values
    draws = {site: x.values for site, x in tree.posterior.items()}
    few = np.array(
        [effective({site: x[:, :, i] for site, x in draws.items()}) for i in range(len(rates))]
    )
    away = []
    for site, (mean, error) in references(name, sets, args, kwargs).items():
        found, own = moments(draws[site])
        away.append((np.abs(found - mean) / np.hypot(own, error)).reshape(len(rates), -1))
    away = np.concatenate(away, axis=1)
    print(
        f"  jumps accepted: {rates.mean():.2f} on average, {rates.min():.2f} at least; "
        f"effective draws: {np.median(few):.0f} in the median, {few.min():.0f} at least\n"
        f"  means away from the reference: {away.max():.1f} standard errors at most, "
        f"{(away > 4).sum()} of {away.size} by more than 4\n"
        f"  first call {first[0]:.1f} s ({first[1]:.1f} of CPU), "
        f"second {again[0]:.1f} s ({again[1]:.1f} of CPU)",
        flush=True,
    )
    own = np.median(again[:, None] / options.sets * ENOUGH / few, axis=1)
    print(f"  amortised: {own[0]:.3f} s, {own[1]:.3f} s of CPU a data set", flush=True)
    for way, rows in seconds_of_nuts(model, sets, args, options.timed).items():
        other = np.median(rows, axis=0)
        print(
            f"  {way}: {other[0]:.2f} s, {other[1]:.2f} s of CPU; "
            f"ratio {other[0] / own[0]:.0f}, of CPU {other[1] / own[1]:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
