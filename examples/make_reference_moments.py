"""Make the reference moments of the built-in posteriors: `numpyro_score/targets/reference/*.json`.

    python examples/make_reference_moments.py              # all, about an hour on two cores
    python examples/make_reference_moments.py eight_schools --batches 2 --out reference
    python examples/make_reference_moments.py stochastic_volatility --diagonal --batch 500
    python examples/make_reference_moments.py item_response --diagonal --chains 32 --batch 500

Each file holds mean and second moment of every variable, the posterior's sd of both, and the
standard error of each truth, with a note of how they were made.

* Every posterior is sampled by NUTS (float64, many chains). A chain is cut into
  batches far longer than its autocorrelation time; the standard error of a moment is the standard
  deviation of its batch means over the square root of their number.
* Eight schools is exact: given tau, everything else is Gaussian, so that each moment is an integral
  over tau alone. It is done by the trapezoid rule in `log tau`, which converges geometrically, and
  the chains are the check: the file records how far they are from it, in standard errors.
* The random walk is exact in the same way, by quadrature over its two scales.
* Where no integral is to be had, the chains are checked by what must hold for any density on R^d,
  `E[grad log p] = 0` and `E[x_i (grad log p)_i] = -1` (integration by parts), in standard errors
  too.

The same machine, versions and seed give the same numbers; other machines agree within the errors.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import unconstrain_fn
from tqdm import tqdm

from numpyro_score.targets.flat import flat_logdensity
from numpyro_score.targets.hierarchical import (
    EFFECTS,
    MU_SD,
    SIGMAS,
    TAU_SCALE,
    eight_schools_model,
)
from numpyro_score.targets.item_response import ANSWERS, item_response_model
from numpyro_score.targets.point_process import COUNTS, cox_process_model
from numpyro_score.targets.regression import breast_cancer_data, logistic_regression_model
from numpyro_score.targets.time_series import (
    LOG_SCALE,
    LOG_SCALE_SD,
    WALK_Y,
    random_walk_model,
)
from numpyro_score.targets.volatility import RETURNS, stochastic_volatility_model

Moments = dict[str, dict[int, np.ndarray]]
"""Variable -> power -> E[x^power]."""

POWERS = (1, 2, 4)
NAMES = {1: "mean", 2: "second_moment"}


def batch_means(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    statistics: Callable[[dict[str, jax.Array]], dict[str, jax.Array]],
    settings: argparse.Namespace,
) -> dict[str, np.ndarray]:
    """Batch means of statistics of draws, name -> `(chains * batches, ...)`."""
    mcmc = MCMC(
        NUTS(model, dense_mass=settings.dense, target_accept_prob=settings.target_accept),
        num_warmup=settings.warmup,
        num_samples=settings.batch,
        num_chains=settings.chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    means = jax.jit(
        jax.vmap(lambda draws: jax.tree.map(lambda x: x.mean(axis=0), statistics(draws)))
    )
    mcmc.warmup(jax.random.key(settings.seed), *args, **kwargs)
    rows = []
    for _ in tqdm(range(settings.batches), unit="batch of every chain"):
        mcmc.run(mcmc.post_warmup_state.rng_key, *args, **kwargs)
        mcmc.post_warmup_state = mcmc.last_state
        rows.append(jax.tree.map(np.asarray, means(mcmc.get_samples(group_by_chain=True))))
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def powers(draws: dict[str, jax.Array], variables: tuple[str, ...]) -> dict[str, jax.Array]:
    """Powers of draws, `"variable^power"` -> `(num, ...)`."""
    return {f"{name}^{power}": draws[name] ** power for name in variables for power in POWERS}


def standard_error(batches: np.ndarray) -> np.ndarray:
    """Standard error of the mean of independent batch means."""
    return batches.std(axis=0, ddof=1) / np.sqrt(len(batches))


def expectation_rows(moments: Moments, errors: Moments | None = None) -> list[dict[str, Any]]:
    """Moments as the rows that `numpyro_score.targets` reads; no errors means exact."""
    rows = []
    for variable, m in moments.items():
        for power, name in NAMES.items():
            sd = np.sqrt(m[2 * power] - m[power] ** 2)
            error = np.zeros_like(sd) if errors is None else errors[variable][power]
            row = {"name": name, "variable": variable}
            for key, value in (("truth", m[power]), ("sd", sd), ("standard_error", error)):
                row[key] = np.vectorize(lambda v: float(f"{v:.12g}"))(value).tolist()
            rows.append(row)
    return rows


def eight_schools_by_quadrature(step: float) -> Moments:
    """Moments of eight schools: Gaussian given tau, then the trapezoid rule in t = log tau.

    With `v_j = sigma_j^2 + tau^2`: `y_j | mu, tau ~ N(mu, v_j)`, so `mu | tau, y` has precision
    `1/25 + sum 1/v_j`, and `theta_j | mu, tau, y` has mean `(y_j tau^2 + mu sigma_j^2) / v_j` and
    variance `sigma_j^2 tau^2 / v_j`. The integrand falls as `exp(t)` to the left and `exp(-9 t)` to
    the right.
    """
    t = np.arange(-40.0, 20.0, step)
    tau, s2 = np.exp(t), SIGMAS**2
    v = s2 + tau[:, None] ** 2
    precision = 1 / MU_SD**2 + (1 / v).sum(axis=1)
    mu = (EFFECTS / v).sum(axis=1) / precision
    log_evidence = -0.5 * (
        np.log(v).sum(axis=1) + np.log(precision) + (EFFECTS**2 / v).sum(axis=1) - precision * mu**2
    )
    log_weight = log_evidence - np.log1p((tau / TAU_SCALE) ** 2) + t
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()

    pull = s2 / v
    theta = pull * mu[:, None] + (1 - pull) * EFFECTS
    theta_variance = pull * tau[:, None] ** 2 + pull**2 / precision[:, None]

    def gaussian(mean: np.ndarray, variance: np.ndarray) -> dict[int, np.ndarray]:
        return {
            1: weight @ mean,
            2: weight @ (mean**2 + variance),
            4: weight @ (mean**4 + 6 * mean**2 * variance + 3 * variance**2),
        }

    return {
        "mu": gaussian(mu, 1 / precision),
        "tau": {power: weight @ tau**power for power in POWERS},
        "theta": gaussian(theta, theta_variance),
    }


def agreement(exact: Moments, coarse: Moments, chains: dict[str, np.ndarray]) -> dict[str, Any]:
    """How well a quadrature agrees with a coarser one, and with chains."""
    z = {
        f"{NAMES[power]} of {variable}": float(
            np.abs(
                (chains[f"{variable}^{power}"].mean(axis=0) - exact[variable][power])
                / standard_error(chains[f"{variable}^{power}"])
            ).max()
        )
        for variable in exact
        for power in NAMES
    }
    grid_change = max(
        np.abs(coarse[variable][power] / exact[variable][power] - 1).max()
        for variable in exact
        for power in POWERS
    )
    return {
        "relative_change_from_a_coarser_grid": float(f"{grid_change:.1e}"),
        "checked_against_nuts_largest_z": {name: round(value, 2) for name, value in z.items()},
    }


def eight_schools(settings: argparse.Namespace) -> dict[str, Any]:
    """Exact moments by quadrature, checked against NUTS."""
    exact, coarse = (eight_schools_by_quadrature(step) for step in (0.01, 0.1))
    chains = batch_means(
        eight_schools_model,
        (SIGMAS,),
        {"y": EFFECTS},
        lambda draws: powers(draws, tuple(exact)),
        settings,
    )
    return {
        "posterior": "eight schools, mu ~ N(0, sd 5), tau ~ HalfCauchy(5), theta ~ N(mu, sd tau)",
        "truth": "trapezoid rule in log tau, all else Gaussian given tau",
        **agreement(exact, coarse, chains),
        "expectations": expectation_rows(exact),
    }


def by_chains(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    sites: tuple[str, ...],
    variables: tuple[str, ...],
    posterior: str,
    settings: argparse.Namespace,
) -> dict[str, Any]:
    """Moments of the variables by chains, checked by integration by parts in the latent sites."""
    logdensity_fn, _ = flat_logdensity(model, args, kwargs)

    def unconstrained(draw: dict[str, jax.Array]) -> jax.Array:
        latent = {name: draw[name] for name in sites}
        return ravel_pytree(unconstrain_fn(model, args, kwargs, latent))[0]

    def statistics(draws: dict[str, jax.Array]) -> dict[str, jax.Array]:
        flat = jax.vmap(unconstrained)(draws)
        gradient = jax.lax.map(jax.grad(logdensity_fn), flat, batch_size=100)
        parts = {"gradient": gradient, "position_times_gradient_plus_1": flat * gradient + 1}
        return powers(draws, variables) | parts

    chains = batch_means(model, args, kwargs, statistics, settings)
    moments, errors = (
        {name: {power: f(chains[f"{name}^{power}"]) for power in POWERS} for name in variables}
        for f in (lambda b: b.mean(axis=0), standard_error)
    )
    z = {
        name: float(np.abs(chains[name].mean(axis=0) / standard_error(chains[name])).max())
        for name in ("gradient", "position_times_gradient_plus_1")
    }
    return {
        "posterior": posterior,
        "truth": "means over draws; standard errors from batch means",
        "checked_by_parts_largest_z": {name: round(value, 2) for name, value in z.items()},
        "expectations": expectation_rows(moments, errors),
    }


def breast_cancer(settings: argparse.Namespace) -> dict[str, Any]:
    """Moments by NUTS, checked by integration by parts."""
    x, y = breast_cancer_data()
    return by_chains(
        logistic_regression_model,
        (x,),
        {"y": y},
        ("intercept", "beta"),
        ("intercept", "beta"),
        "logistic regression, scikit-learn's breast cancer data, priors N(0, sd 1)",
        settings,
    )


def random_walk_by_quadrature(step: float) -> Moments:
    """Moments of the walk: Gaussian given both scales, then the trapezoid rule in their logs.

    With `K_st = min(s, t)`, the walk given `step_sd = a` is `N(0, a^2 K)`, and what is seen of it
    has covariance `a^2 K_seen + b^2 I`, whose eigenvectors are those of `K_seen` for every `a` and
    `b = noise_sd`.
    """
    time = np.arange(1.0, len(WALK_Y) + 1)
    kernel, is_seen = np.minimum.outer(time, time), np.isfinite(WALK_Y)
    values, vectors = np.linalg.eigh(kernel[np.ix_(is_seen, is_seen)])
    seen, across = vectors.T @ WALK_Y[is_seen], kernel[:, is_seen] @ vectors
    logs = np.arange(-7.0, 4.0, step)
    log_a, log_b = (grid.ravel() for grid in np.meshgrid(logs, logs, indexing="ij"))
    a2, b2 = np.exp(2 * log_a)[:, None], np.exp(2 * log_b)[:, None]
    variance = a2 * values + b2
    log_weight = -0.5 * (np.log(variance) + seen**2 / variance).sum(axis=1)
    for log_scale in (log_a, log_b):
        log_weight -= 0.5 * ((log_scale - LOG_SCALE) / LOG_SCALE_SD) ** 2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean = (a2 * seen / variance) @ across.T
    spread = a2 * np.diag(kernel) - (a2**2 / variance) @ (across**2).T
    return {
        "step_sd": {power: weight @ np.exp(power * log_a) for power in POWERS},
        "noise_sd": {power: weight @ np.exp(power * log_b) for power in POWERS},
        "x": {
            1: weight @ mean,
            2: weight @ (mean**2 + spread),
            4: weight @ (mean**4 + 6 * mean**2 * spread + 3 * spread**2),
        },
    }


def random_walk_with_gap(settings: argparse.Namespace) -> dict[str, Any]:
    """Exact moments by quadrature, checked against NUTS."""
    exact, coarse = (random_walk_by_quadrature(step) for step in (0.03, 0.1))
    chains = batch_means(
        random_walk_model,
        (WALK_Y,),
        {},
        lambda draws: powers(draws, tuple(exact)),
        settings,
    )
    return {
        "posterior": "random walk of 30 steps with noise and a gap, log-normal scales",
        "truth": "trapezoid rule in the logs of both scales, all else Gaussian given them",
        **agreement(exact, coarse, chains),
        "expectations": expectation_rows(exact),
    }


def volatility(settings: argparse.Namespace) -> dict[str, Any]:
    """Moments by NUTS, checked by integration by parts."""
    return by_chains(
        stochastic_volatility_model,
        (RETURNS,),
        {},
        ("level", "half_persistence", "scale", "z"),
        ("level", "half_persistence", "scale", "log_variance"),
        "stochastic volatility of 200 returns, non-centered",
        settings,
    )


def answers(settings: argparse.Namespace) -> dict[str, Any]:
    """Moments by NUTS, checked by integration by parts."""
    return by_chains(
        item_response_model,
        (ANSWERS,),
        {},
        ("location", "scale", "ability", "slope", "z"),
        ("location", "scale", "ability", "slope", "difficulty"),
        "two-parameter logistic model of 100 persons and 40 items, non-centered",
        settings,
    )


def cells(settings: argparse.Namespace) -> dict[str, Any]:
    """Moments by NUTS, checked by integration by parts."""
    return by_chains(
        cox_process_model,
        (COUNTS,),
        {},
        ("level", "scale", "z"),
        ("level", "scale", "log_intensity"),
        "log-Gaussian Cox process on 16 x 16 cells, whitened",
        settings,
    )


MAKERS = {
    "eight_schools": eight_schools,
    "breast_cancer": breast_cancer,
    "random_walk_with_gap": random_walk_with_gap,
    "stochastic_volatility": volatility,
    "item_response": answers,
    "cox_process": cells,
}


def main() -> None:
    default_out = Path(__file__).parents[1] / "numpyro_score" / "targets" / "reference"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("posterior", nargs="*", help=f"any of {', '.join(MAKERS)}; none means all")
    parser.add_argument("--out", type=Path, default=default_out, help="folder for the files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--warmup", type=int, default=1000, help="warmup draws per chain")
    parser.add_argument("--batches", type=int, default=8, help="batches per chain")
    parser.add_argument("--batch", type=int, default=2000, help="draws per batch")
    parser.add_argument("--target-accept", type=float, default=0.8)
    parser.add_argument(
        "--diagonal", dest="dense", action="store_false", help="mass matrix, for many dimensions"
    )
    settings = parser.parse_args()
    unknown = sorted(set(settings.posterior) - set(MAKERS))
    if unknown:
        parser.error(f"unknown posterior {', '.join(unknown)}; known: {', '.join(MAKERS)}")

    jax.config.update("jax_enable_x64", True)
    settings.out.mkdir(parents=True, exist_ok=True)
    for name in settings.posterior or MAKERS:
        start = time.perf_counter()
        made = MAKERS[name](settings)
        matrix = "dense" if settings.dense else "diagonal"
        how = {
            "made_by": "examples/make_reference_moments.py",
            "kernel": f"numpyro NUTS, {matrix} mass matrix, float64",
            "target_accept": settings.target_accept,
            "chains": settings.chains,
            "warmup_per_chain": settings.warmup,
            "draws": settings.chains * settings.batches * settings.batch,
            "batches": settings.chains * settings.batches,
            "seed": settings.seed,
            "versions": {
                "python": platform.python_version(),
                "jax": jax.__version__,
                "jaxlib": jaxlib.__version__,
                "numpyro": numpyro.__version__,
                "numpy": np.__version__,
            },
        }
        rows = made.pop("expectations")
        text = json.dumps({**made, "how": how, "expectations": rows}, indent=1)
        file = settings.out / f"{name}.json"
        file.write_text(text + "\n", encoding="utf-8")
        seconds = time.perf_counter() - start
        print(f"{file}: {len(rows)} expectations, {seconds:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
