"""Amortised posteriors: accuracy where the posterior is known, and the exact kernels made of them.

First table: classifier two-sample scores (.5 is perfect; Lopez-Paz and Oquab 2017,
arXiv:1610.06545) of 1,000 draws against reference draws, mean over observations, with the seconds
of simulation, training and sampling, compilation included. Tasks as in Lueckmann et al. 2021,
arXiv:2101.04653. Second table: over simulated data sets, largest error of a mean in standard errors
against NUTS, acceptance of the jumps, seconds a data set after the first.

    python examples/benchmarks/amortised.py [--tasks two_moons ...] [--models eight_schools ...]
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
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import numpyro_score as ns
from numpyro_score.targets import eight_schools

NUM_DRAWS = 1000


def gaussian_linear(y):
    theta = numpyro.sample("theta", dist.Normal(0.0, np.sqrt(0.1)).expand([10]).to_event(1))
    numpyro.sample("y", dist.Normal(theta, np.sqrt(0.1)).to_event(1), obs=y)


def exact_gaussian_linear(rng, y):
    return y / 2 + np.sqrt(0.05) * rng.normal(size=(NUM_DRAWS, 10))


def moon(rng, size):
    angle = rng.uniform(-np.pi / 2, np.pi / 2, size=size)
    radius = rng.normal(0.1, 0.01, size=size)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=-1)


def two_moons(rng_key, parameters):
    """A simulator: its likelihood is not written down."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(rng_key)))
    a, b = np.asarray(parameters["theta"], float)
    return moon(rng, ()) + np.array([-abs(a + b), b - a]) / np.sqrt(2)


def exact_two_moons(rng, y):
    rest = np.asarray(y) - moon(rng, 20 * NUM_DRAWS)
    # the sum of both parameters is known but for its sign
    total = np.where(rng.random(len(rest)) < 0.5, 1, -1) * -rest[:, 0] * np.sqrt(2)
    gap = rest[:, 1] * np.sqrt(2)
    theta = np.stack([total - gap, total + gap], axis=1) / 2
    is_possible = (rest[:, 0] <= 0) & (np.abs(theta) <= 1).all(axis=1)
    return theta[is_possible][:NUM_DRAWS]


def slcp(y):
    theta = numpyro.sample("theta", dist.Uniform(-3.0, 3.0).expand([5]).to_event(1))
    sd = theta[2:4] ** 2 + 1e-6
    rho = 0.999 * jnp.tanh(theta[4])
    first = jnp.array([1.0, 0.0]) * sd[0]
    second = sd[1] * jnp.stack([rho, jnp.sqrt(1 - rho**2)])
    points = dist.MultivariateNormal(theta[:2], scale_tril=jnp.stack([first, second]))
    numpyro.sample("y", points.expand([4]).to_event(1), obs=y)


def exact_slcp(rng, y):
    mcmc = MCMC(
        NUTS(slcp, target_accept_prob=0.95),
        num_warmup=1000,
        num_samples=2000,
        num_chains=8,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(5), jnp.asarray(y, jnp.float32))
    theta = np.asarray(mcmc.get_samples()["theta"])[:: 16_000 // NUM_DRAWS].copy()
    # the signs of the two scales are not identified
    theta[:, 2:4] *= rng.choice([-1, 1], size=(len(theta), 2))
    return theta


UNIFORM = {"theta": dist.Uniform(-1.0, 1.0).expand([2]).to_event(1)}
TASKS = {
    "gaussian_linear": (gaussian_linear, None, np.zeros(10), exact_gaussian_linear),
    "two_moons": (two_moons, UNIFORM, np.zeros(2), exact_two_moons),
    "slcp": (slcp, None, np.zeros((4, 2)), exact_slcp),
}


def classifier_score(found, reference):
    """Accuracy of a classifier that tells both apart, by five-fold cross-validation."""
    x = np.concatenate([found, reference])
    label = np.repeat([0, 1], [len(found), len(reference)])
    width = 10 * x.shape[1]
    network = MLPClassifier((width, width), max_iter=1000, early_stopping=True, random_state=0)
    classifier = make_pipeline(StandardScaler(), network)
    return float(cross_val_score(classifier, x, label, cv=5).mean())


def observation(name, rng):
    """Data of parameters drawn from the prior."""
    model, prior, empty, _ = TASKS[name]
    key = jax.random.key(int(rng.integers(2**31)))
    if prior is None:
        drawn = numpyro.infer.Predictive(model, num_samples=1)(key, None)
        return np.asarray(drawn["y"][0]).reshape(empty.shape)
    theta = {"theta": rng.uniform(-1, 1, size=2)}
    return model(key, theta)


def accuracy(name, seed, num_simulations, num_observations):
    """Classifier scores of observations, and seconds."""
    model, prior, empty, exact = TASKS[name]
    source = {"prior": prior} if prior is not None else {"model_args": (jnp.asarray(empty),)}
    rng = np.random.default_rng(seed)
    began = time.perf_counter()
    posterior = ns.fit_posterior(
        model, jax.random.key(seed), num_simulations=num_simulations, progress=False, **source
    )
    seconds, scores = time.perf_counter() - began, []
    for _ in range(num_observations):
        y = observation(name, rng)
        began = time.perf_counter()
        draws = posterior.sample(jax.random.key(seed + 1), jnp.asarray(y, jnp.float32), NUM_DRAWS)
        found = np.asarray(draws["theta"])
        seconds += time.perf_counter() - began
        scores.append(classifier_score(found, exact(rng, y)))
    return scores, seconds


def hierarchical_logistic(x, group, y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("groups", 5):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
    logits = mean + sd * z[group] + slope * x
    numpyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)


def by_group(data):
    """Sufficient statistics but for the slope: successes, and successes weighted by `x`."""
    y = data["y"].reshape(5, 20)
    return {"sum": y.sum(axis=1), "weighted": (y * POINTS).sum()}


POINTS = jnp.linspace(-1.0, 1.0, 20)
SCHOOLS = eight_schools()
MODELS = {
    "eight_schools": (
        SCHOOLS.model,
        SCHOOLS.model_args,
        jnp.asarray(SCHOOLS.model_kwargs["y"]),
        None,
        ("mu", "tau"),
    ),
    "hierarchical_logistic": (
        hierarchical_logistic,
        (jnp.tile(POINTS, 5), jnp.repeat(jnp.arange(5), 20)),
        jnp.zeros(100, jnp.int32),
        by_group,
        ("mean", "sd", "slope"),
    ),
}


def run(kernel, args, y, num_chains, num_samples, names):
    """Means and standard errors, seconds, the run."""
    began = time.perf_counter()
    dt = ns.sample(
        kernel,
        jax.random.key(0),
        num_warmup=200,
        num_samples=num_samples,
        num_chains=num_chains,
        model_args=args,
        model_kwargs={"y": y},
        jit_model_args=True,
        progress=False,
    )
    seconds = time.perf_counter() - began
    draws = [dt.posterior[name].values for name in names]
    errors = [x.std() / np.sqrt(float(effective_sample_size(x))) for x in draws]
    return np.array([x.mean() for x in draws]), np.array(errors), seconds, dt


def corrected(name, num_sets, num_simulations):
    """Differences from NUTS in standard errors, acceptance, seconds; and seconds of training."""
    model, args, y, summary, names = MODELS[name]
    began = time.perf_counter()
    posterior = ns.fit_posterior(
        model,
        jax.random.key(1),
        model_args=args,
        model_kwargs={"y": y},
        num_simulations=num_simulations,
        num_steps=3000,
        num_flow_steps=8,
        width=64,
        summary=summary,
        progress=False,
    )
    training = time.perf_counter() - began
    free = numpyro.infer.Predictive(model, num_samples=num_sets)(jax.random.key(2), *args, y=None)
    amortised, nuts, rows = posterior.as_kernel(model), NUTS(model), []
    for data in np.asarray(free["y"]):
        one = run(amortised, args, jnp.asarray(data, y.dtype), 16, 300, names)
        other = run(nuts, args, jnp.asarray(data, y.dtype), 4, 1000, names)
        apart = np.abs(one[0] - other[0]) / np.hypot(one[1], other[1])
        rate = float(one[3].sample_stats["global_accept_prob"].mean())
        rows.append((apart.max(), rate, one[2], other[2]))
    return np.array(rows).T, training


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--observations", type=int, default=3)
    parser.add_argument("--sets", type=int, default=100)
    options = parser.parse_args(arguments)
    print(
        "| task | seed | classifier two-sample score, by observation | seconds |\n|---|---|---|---|"
    )
    for name in options.tasks:
        for seed in range(options.seeds):
            scores, seconds = accuracy(name, seed, options.simulations, options.observations)
            told = ", ".join(f"{score:.3f}" for score in scores)
            print(f"| {name} | {seed} | {told} | {seconds:.0f} |", flush=True)
    print(
        "\n| model | sets | apart | within 4 | accepted: mean, least | seconds, NUTS | training |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in options.models:
        (apart, rate, mine, theirs), training = corrected(name, options.sets, 20_000)
        cells = (
            f"{apart.max():.1f}",
            f"{(apart < 4).mean():.2f}",
            f"{rate.mean():.2f}, {rate.min():.2f}",
            f"{np.median(mine[1:]):.2f}, {np.median(theirs[1:]):.2f}",
            f"{training:.0f}",
        )
        print(f"| {name} | {options.sets} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
