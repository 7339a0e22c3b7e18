"""
Langevin Monte Carlo on a banana
================================

The Metropolis-adjusted Langevin algorithm (MALA) proposes a step along the gradient,

    ``x' = x + eps P grad log p(x) + sqrt(2 eps) P^(1/2) z``,

and accepts or rejects it (Roberts and Tweedie 1996, doi:10.2307/3318418). The banana has ``x0 ~
N(0, 10^2)`` and ``x1 ~ N(.03 (x0^2 - 100), 1)``: thin and bent, with known moments. The effects of
the step size, of a mass matrix ``P^-1`` and of the gradient are measured by the effective sample
size (ESS) per step.
"""

import sys
from functools import partial

import arviz as az
import jax
import numpy as np
from matplotlib import pyplot as plt

import numpyro_score as ns
from numpyro_score.diagnostics import convergence, expectation_errors
from numpyro_score.kernels.mala import optimal_step_size as mala_step_size
from numpyro_score.kernels.random_walk import optimal_step_size as walk_step_size
from numpyro_score.targets import banana, ill_gaussian, std_gaussian

SHORT = "--short" in sys.argv
NUM_DRAWS, NUM_BURN_IN = 10_000, 200
NUM_CHAINS = 16 if SHORT else 64

target = banana()

# %%
# Every chain makes 10,000 draws after 200 steps of burn-in, all with one step size. The chains
# start spread over a box, mostly far from the crescent, and reach it during burn-in: from then on
# the mean log density is -1, minus half the dimension.
kernel = ns.MALA(target.model, step_size=0.5, adapt_step_size=False, adapt_mass_matrix=False)
box = np.array([[-20.0, -10.0], [20.0, 20.0]], np.float32)
start = np.random.default_rng(0).uniform(*box, (NUM_CHAINS, 2)).astype(np.float32)
run = ns.sample(
    kernel,
    jax.random.key(1),
    num_warmup=NUM_BURN_IN,
    num_samples=NUM_DRAWS,
    num_chains=NUM_CHAINS,
    init_params={"x": start},
    progress=False,
)
errors = expectation_errors(run, target.expectations).set_index("quantity")
burnt_in = run.warmup_sample_stats.lp.values[:, [0, 5, 20, 100, -1]].mean(0)
print(f"{NUM_CHAINS} chains of {NUM_DRAWS} draws after {NUM_BURN_IN}")
print("mean log density at draws 1, 6, 21, 101, 200:", burnt_in.round(2), "(in the end -1)")
print(errors[["estimate", "mcse", "truth", "error_mcse"]].round(3).to_string())


# %%
# The step size determines the efficiency. If it is too small, the chain moves slowly; if it is too
# large, proposals are rejected. The mean square jump along the crescent is largest in between, and
# so is the ESS. With a mass matrix from the two variances, 100 and 19, the jumps are three times as
# long, but the ESS does not increase: the thin direction rotates along the crescent, no constant
# matrix can follow it, and steps that suit the middle are rejected in the arms.
@partial(jax.jit, static_argnames="num")
@partial(jax.vmap, in_axes=(None, 0, None, None, None))
def mala_chains(inverse_mass_matrix, step_size, start, rng_key, num):
    """For each step size x0 of chains `(chain, num)`, and the acceptance of each step."""
    algorithm = ns.mala(target.logdensity_fn, step_size, inverse_mass_matrix)

    def step(state, key):
        state, info = algorithm.step(key, state)
        return state, (state.position[0], info.acceptance_rate)

    def one(x, key):
        return jax.lax.scan(step, algorithm.init(x), jax.random.split(key, num))[1]

    return jax.vmap(one)(start, jax.random.split(rng_key, len(start)))


def ess_per_step(draws):
    """Effective sample size per step of chains `(chain, draw)`."""
    return float(az.ess(np.asarray(draws, np.float64), method="mean", relative=True))


num_steps = 4_000 if SHORT else 20_000
matrices = {"identity": np.ones(2), "variances": np.array([100.0, 19.0])}
step_sizes = np.geomspace(0.05, 3.2, 5 if SHORT else 7)
exact_start = target.sample(jax.random.key(2), 16)["x"]
sweep, key = {}, jax.random.key(3)
for name, diagonal in matrices.items():
    # the same moves along x1, the thin direction at the middle of the crescent
    steps = np.float32(step_sizes / diagonal[1])
    x, rates = map(
        np.asarray, mala_chains(np.float32(diagonal), steps, exact_start, key, num_steps)
    )
    in_arms = np.abs(x[..., :-1]) > 15
    sweep[name] = {
        "eps": steps,
        "acceptance": rates.mean((1, 2)),
        "in_arms": (rates[..., 1:] * in_arms).sum((1, 2)) / in_arms.sum((1, 2)),
        "jump": np.mean(np.diff(x) ** 2, axis=(1, 2), dtype=np.float64),
        "ess": np.array([ess_per_step(draws) for draws in x]),
    }
    print(f"\nP: {name}; ESS of x0 per 1000 gradients")
    print("     eps  accepted  where |x0| > 15  mean square jump of x0     ESS")
    for step_size, rate, arms, jump, ess in zip(*sweep[name].values(), strict=True):
        print(
            f"{step_size:8.4f}   {rate:.3f}        {arms:.3f}           {jump:8.3f}"
            f"         {1000 * ess:8.2f}"
        )

# %%
# A mass matrix helps most if scales differ and are constant. On a Gaussian in 20 dimensions with
# variances ``v`` from .1 to 10 the optimal step size without one is determined by the small
# variances, ``1.36 (sum v^-3)^(-1/3)``, and is too small for the widest direction. Warmup estimates
# ``P`` from draws and gradients; in many dimensions this gains a factor of
# ``max(v) (mean v^-3)^(1/3)``, here 46.
ill = ill_gaussian(dim=20, condition=100.0)
variances = ill.expectations[1].truth
expected_gain = variances.max() * np.mean(variances**-3) ** (1 / 3)
worst = {}
for name, learns in (("identity", False), ("learned", True)):
    tuned = ns.sample(
        ns.MALA(ill.model, adapt_mass_matrix=learns),
        jax.random.key(4),
        num_warmup=500,
        num_samples=2 * num_steps,
        num_chains=8,
        progress=False,
    )
    table = convergence(tuned)
    worst[name] = float(table.ess_bulk.min()) / tuned.posterior.x[..., 0].size
    rate = float(tuned.sample_stats.acceptance_rate.mean())
    print(f"\nill-conditioned Gaussian, P {name}: {rate:.3f} accepted, ", end="")
    print(f"worst ESS per 1000 gradients {1000 * worst[name]:.2f}", end="")
gain = worst["learned"] / worst["identity"]
print(f"\ngain {gain:.0f}, in many dimensions {expected_gain:.0f}")


# %%
# Comparison with random walk Metropolis on standard Gaussians, each kernel at its optimal step
# size, from exact draws. In high dimensions the ESS per step is ``.331 / d`` for the random walk
# and ``.39 / d^(1/3)`` for MALA (Roberts and Rosenthal 2001, doi:10.1214/ss/1015346320). A gradient
# costs about two evaluations of the density, and is worth it from a few dimensions on.
@partial(jax.jit, static_argnames=("algorithm", "num"))
def first_coordinates(algorithm, start, rng_key, num):
    """Up to 8 coordinates of chains `(chain, num, 8)`, and the mean acceptance."""

    def step(state, key):
        state, info = algorithm.step(key, state)
        return state, (state.position[:8], info.acceptance_rate)

    def one(x, key):
        return jax.lax.scan(step, algorithm.init(x), jax.random.split(key, num))[1]

    x, rate = jax.vmap(one)(start, jax.random.split(rng_key, len(start)))
    return x, rate.mean()


dims = np.array([2, 20, 200])
beside = {"random walk": [], "MALA": []}
for dim in dims.tolist():
    gaussian = std_gaussian(dim)
    start = gaussian.sample(jax.random.key(5), 8)["x"]
    kernels = {
        "random walk": ns.random_walk(gaussian.logdensity_fn, walk_step_size(dim)),
        "MALA": ns.mala(gaussian.logdensity_fn, mala_step_size(dim)),
    }
    for name, algorithm in kernels.items():
        x, rate = first_coordinates(algorithm, start, jax.random.key(6), 2 * num_steps)
        efficiency = np.mean([ess_per_step(x[..., i]) for i in range(x.shape[-1])])
        beside[name].append((float(rate), float(efficiency)))
beside = {name: np.array(rows) for name, rows in beside.items()}
limits = {"random walk": 0.331 / dims, "MALA": 0.39 / dims ** (1 / 3)}
print("\n   d  kernel       accepted  ESS per 1000 steps  for large d")
for place, dim in enumerate(dims):
    for name, rows in beside.items():
        print(
            f"{dim:4d}  {name:11s}   {rows[place, 0]:.3f}    {1000 * rows[place, 1]:10.2f}"
            f"         {1000 * limits[name][place]:8.2f}"
        )

# %%
# The figure: one chain with its burn-in on the crescent, the ESS per step at each step size, and
# its dependence on the dimension.
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
x0, x1 = np.meshgrid(np.linspace(-30, 30, 200), np.linspace(-12, 25, 200))
height = np.asarray(jax.vmap(target.logdensity_fn)(np.stack([x0.ravel(), x1.ravel()], 1)))
axes[0].contour(x0, x1, height.reshape(x0.shape), levels=[-4.5, -2, -0.5], colors="#999999")
draws = run.posterior.x.values[0, ::5]
axes[0].plot(*draws.T, ".", markersize=1.5, color="#4477aa", label="one chain's draws")
axes[0].plot(*run.warmup_posterior.x.values[0].T, "-", color="#cc3311", label="its burn-in")
axes[0].set(title="MALA on the banana", xlabel="x0", ylabel="x1")
axes[0].legend(loc="upper center")
for name, row in sweep.items():
    (line,) = axes[1].loglog(step_sizes, 1000 * row["ess"], "o-", label=f"P: {name}")
    points = zip(step_sizes, 1000 * row["ess"], strict=True)
    for where, rate in zip(points, row["acceptance"], strict=True):
        axes[1].annotate(f" {rate:.2f}", where, color=line.get_color(), fontsize=8)
axes[1].set(
    title="Step size (numbers: acceptance)",
    xlabel="eps times P of x1",
    ylabel="ESS of x0 per 1000 gradients",
)
axes[1].legend()
for name, rows in beside.items():
    (line,) = axes[2].loglog(dims, 1000 * rows[:, 1], "o", label=name)
    axes[2].loglog(dims, 1000 * limits[name], "--", color=line.get_color(), label="for large d")
axes[2].set(title="Standard Gaussians", xlabel="dimension", ylabel="ESS per 1000 steps")
axes[2].legend()
figure.savefig("langevin.png", dpi=120)
print("\npicture: langevin.png")
