"""One default call on posteriors that are hard in different ways, beside NUTS.

    python examples/benchmarks/hard_posteriors.py
    python examples/benchmarks/hard_posteriors.py --folder POSTERIORS --seeds 3 funnel nes

For each target and seed `sample(model, key, num_chains=64)` runs until R-hat is at most 1.01 and
there are 100 effective draws a chain. The columns:

* the kernel that was chosen, with the mean number of integration steps that warmup found;
* R-hat, and the largest distance of a mean and of a second moment from its truth, in standard
  errors (those of the draws and of the truth; among as many as a target has, 3 to 4 is usual);
* effective draws per 1,000 gradients of the slowest parameter, the smaller of those for its mean
  (bulk) and for its squared distance from the mean; of the sampling alone;
* gradients of all chains until there are 100 effective draws a chain by that measure, in thousands:
  with warmup and with kernels that were given up, without the search for other modes.

NUTS is NumPyro's, with the same chains, 500 steps of warmup and a diagonal mass matrix, or a dense
one where the chosen kernel has one. With `--folder` the posteriors of `posteriordb_models.py` are
added, whose data are not part of this project. Medians over seeds.
"""

import argparse
import time
import warnings
from typing import Any, NamedTuple

import arviz as az
import jax
import numpy as np
import posteriordb_models
from numpyro.infer import NUTS

import numpyro_score as ns
from numpyro_score import targets

BUILT_IN = (
    "breast_cancer",
    "eight_schools",
    "random_walk_with_gap",
    "stochastic_volatility",
    "item_response",
    "cox_process",
    "rosenbrock",
    "funnel",
    "eight_schools_centered",
)
PER_CHAIN = 100


class Truth(NamedTuple):
    """A known expectation: of `fn` of the draws of a variable."""

    variable: str
    fn: Any
    value: Any
    error: Any


class Problem(NamedTuple):
    """What is sampled, and what is known of it."""

    name: str
    model: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    truths: list[Truth]


def built_in(name):
    """A target of the package."""
    target = getattr(targets, name)()
    truths = [
        Truth(e.variable, e.fn, np.asarray(e.truth), np.asarray(e.standard_error))
        for e in target.expectations
    ]
    return Problem(name, target.model, target.model_args, target.model_kwargs, truths)


def of_folder(posterior):
    """A posterior with reference means and sds of single parameters."""
    truths = []
    for label, mean in posterior.mean.items():
        variable, _, place = label.partition("[")
        index = (int(place[:-1]) - 1,) if place else ()
        sd, error = posterior.sd[label], posterior.error[label]

        def value(draws, variable=variable, index=index):
            return draws[variable][(..., *index)]

        def squared(draws, variable=variable, index=index, mean=mean):
            return (draws[variable][(..., *index)] - mean) ** 2

        truths.append(Truth(variable, value, mean, error))
        # of an sd from n draws of a normal distribution the standard error is sd / sqrt(2 n)
        spread = sd**2 * np.sqrt(2 / posterior.num_reference)
        truths.append(Truth(variable, squared, sd**2, spread))
    return Problem(posterior.name, posterior.model, (), {}, truths)


def worst_error(dt, problem):
    """Largest distance of an expectation from its truth, in standard errors."""
    draws = {name: np.asarray(v.values, np.float64) for name, v in dt.posterior.data_vars.items()}
    worst = 0.0
    for truth in problem.truths:
        values = np.asarray(truth.fn(draws))
        values = values.reshape(*values.shape[:2], -1)
        error = np.array([az.mcse(values[..., i]) for i in range(values.shape[2])])
        off = values.mean(axis=(0, 1)) - np.ravel(truth.value)
        worst = max(worst, float(np.max(np.abs(off) / np.hypot(error, np.ravel(truth.error)))))
    return worst


def fewest_effective(dt):
    """Effective draws of the slowest parameter, of its mean and of its square; and R-hat."""
    posterior = dt.posterior.dataset
    squares = (posterior - posterior.mean(("chain", "draw"))) ** 2
    fewest = min(
        float(np.nanmin(values.values))
        for dataset in (posterior, squares)
        for values in az.ess(dataset, method="bulk").data_vars.values()
    )
    rhat = max(float(np.nanmax(v.values)) for v in az.rhat(posterior).data_vars.values())
    return fewest, rhat


class Result(NamedTuple):
    """What one run came to."""

    kernel: str
    rhat: float
    z: float
    per_gradient: float
    until: float
    acceptance: float


def measure(dt, problem, name):
    """Figures of one run."""
    num_chains = dt.posterior.sizes["chain"]
    fewest, rhat = fewest_effective(dt)
    sampling = float(dt.sample_stats["num_grad"].sum())
    warmup = float(dt.warmup_sample_stats["num_grad"].sum())
    given_up = dt.attrs.get("num_grad_given_up", 0)
    needed = given_up + warmup + sampling * PER_CHAIN * num_chains / fewest
    return Result(
        name,
        rhat,
        worst_error(dt, problem),
        1000 * fewest / sampling,
        needed / 1000,
        float(dt.sample_stats["acceptance_rate"].mean()),
    )


def ours(problem, seed, chains, kernel=None, **options):
    """The default call."""
    dt = ns.sample(
        problem.model if kernel is None else kernel,
        jax.random.key(seed),
        num_chains=chains,
        model_args=problem.args,
        model_kwargs=problem.kwargs,
        progress=False,
        **options,
    )
    name = dt.attrs.get("kernel_choice", dt.attrs["sampler"]).partition(":")[0]
    if "mean_num_steps" in dt.attrs:
        name = f"{name} ({dt.attrs['mean_num_steps']:.0f})"
    return measure(dt, problem, name), "dense" in name


def nuts(problem, seed, chains, num_samples, *, is_dense):
    """NumPyro's NUTS on the same problem."""
    dt = ns.sample(
        NUTS(problem.model, dense_mass=is_dense),
        jax.random.key(seed),
        num_warmup=500,
        num_samples=num_samples,
        num_chains=chains,
        model_args=problem.args,
        model_kwargs=problem.kwargs,
        progress=False,
    )
    return measure(dt, problem, "NUTS")


def median(results):
    """The median of every figure; of the kernels the first."""
    return Result(results[0].kernel, *np.median([r[1:] for r in results], axis=0))


def row(name, result):
    """One line of the table."""
    return (
        f"{name:26} {result.kernel:20} {result.rhat:6.3f} {result.z:5.1f} "
        f"{result.per_gradient:9.2f} {result.until:9.0f} {result.acceptance:5.2f}"
    )


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="*", help="all by default")
    parser.add_argument("--folder", help="with reference.json and data/*.json")
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--nuts-samples", type=int, default=500, help="0 leaves NUTS out")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ns.ConvergenceWarning)
    problems = {name: lambda name=name: built_in(name) for name in BUILT_IN}
    if arguments.folder:
        for name, posterior in posteriordb_models.load(arguments.folder).items():
            problems[name] = lambda posterior=posterior: of_folder(posterior)
    print(f"{arguments.chains} chains, medians of {arguments.seeds} seeds")
    print(f"{'target':26} {'kernel':20} {'R-hat':>6} {'z':>5} {'per 1000':>9} {'until':>9}  acc")
    ratios = []
    for name in arguments.target or problems:
        problem = problems[name]()
        began = time.perf_counter()
        runs = [ours(problem, seed, arguments.chains) for seed in range(arguments.seeds)]
        mine = median([result for result, _ in runs])
        print(row(name, mine), f"{time.perf_counter() - began:5.0f} s", flush=True)
        if not arguments.nuts_samples:
            continue
        began = time.perf_counter()
        others = [
            nuts(
                problem,
                seed,
                arguments.chains,
                arguments.nuts_samples,
                is_dense=runs[0][1],
            )
            for seed in range(arguments.seeds)
        ]
        theirs = median(others)
        ratio = mine.per_gradient / theirs.per_gradient, theirs.until / mine.until
        ratios.append(ratio)
        print(row("", theirs), f"{time.perf_counter() - began:5.0f} s", flush=True)
        print(f"{'':26} ratio: {ratio[0]:.2f} sampling, {ratio[1]:.2f} warmup counted", flush=True)
    if ratios:
        sampling, counted = np.exp(np.mean(np.log(ratios), axis=0))
        print(f"geometric means: {sampling:.2f} sampling, {counted:.2f} warmup counted")


if __name__ == "__main__":
    main()
